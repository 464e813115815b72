"""The attention model: a session is a weighted mean of its own items' embeddings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

FLAGS = dict(blocks=1, heads=2, repeat=True, blend=True, bias=False, rowsteps=False, beta2=0.999, alpha=1.0, ln=True, ff=2, edrop=True, gru=False, elr=1.0)


def glorot(rng, *shape):
    return rng.uniform(-1, 1, shape).astype(np.float32) * math.sqrt(6 / (shape[0] + shape[-1]))


class Encoder(tf.Module):
    def __init__(self, d, max_length, seed, flags):
        super().__init__()
        rng = np.random.default_rng(seed)
        p = {}
        self.flags = flags
        self.d = d
        self.max_length = max_length
        for i in range(flags["blocks"]):
            p[f"{i}/qkv"] = glorot(rng, d, 3 * d)
            p[f"{i}/out"] = glorot(rng, d, d)
            p[f"{i}/lag"] = np.zeros((flags["heads"], max_length), np.float32)
            p[f"{i}/up"] = glorot(rng, d, flags["ff"] * d)
            p[f"{i}/up_b"] = np.zeros(flags["ff"] * d, np.float32)
            p[f"{i}/down"] = glorot(rng, flags["ff"] * d, d)
            p[f"{i}/down_b"] = np.zeros(d, np.float32)
            p[f"{i}/ln1"] = np.ones(d, np.float32)
            p[f"{i}/ln2"] = np.ones(d, np.float32)
        p["pool/q"] = glorot(rng, d, d)
        p["pool/k"] = glorot(rng, d, d)
        p["pool/lag"] = np.zeros((1, max_length), np.float32)
        if flags["blend"]:
            p["blend"] = np.zeros((d, d), np.float32)
        if flags["gru"]:
            p["gru/x"] = glorot(rng, d, 3 * d)
            p["gru/h"] = glorot(rng, d, 3 * d)
            p["gru/b"] = np.zeros(3 * d, np.float32)
            p["gru/out"] = glorot(rng, d, d)*0.3
        if flags["repeat"]:
            p["repeat/q"] = glorot(rng, d, 32)
            p["repeat/k"] = glorot(rng, d, 32)
            p["repeat/lag"] = np.zeros((1, max_length), np.float32)
            p["repeat/z"] = np.zeros((d, 1), np.float32)
        self.p = {k: tf.Variable(v, name=k) for k, v in p.items()}

    def norm(self, x, scale):
        mean = tf.reduce_mean(x, -1, keepdims=True)
        x = x - mean
        return x * tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + 1e-6) * scale

    def lagbias(self, table, L):
        lag = tf.range(L)[:, None] - tf.range(L)[None, :]
        lag = tf.clip_by_value(lag, 0, self.max_length - 1)
        return tf.gather(table, lag, axis=1)  # [heads, L, L]

    def __call__(self, items, mask, dropout):
        """items [b,L,d] normalized, mask [b,L] bool -> h [b,L,d], repeat [b,L,L] or None."""
        f, p, d = self.flags, self.p, self.d
        L = tf.shape(items)[1]
        drop = (lambda x: tf.nn.dropout(x, dropout)) if dropout else (lambda x: x)
        causal = tf.linalg.band_part(tf.ones((L, L), tf.bool), -1, 0)
        allowed = causal[None] & mask[:, None, :]
        barrier = tf.where(allowed, 0.0, -1e9)[:, None]  # b,1,L,L
        z = drop(items * math.sqrt(d) )
        H = f["heads"]
        for i in range(f["blocks"]):
            y = self.norm(z, p[f"{i}/ln1"])
            qkv = tf.reshape(tf.matmul(y, p[f"{i}/qkv"]), (-1, L, 3, H, d // H))
            qkv = tf.transpose(qkv, (2, 0, 3, 1, 4))
            q, k, v = qkv[0], qkv[1], qkv[2]
            a = tf.matmul(q, k, transpose_b=True) / math.sqrt(d // H) + self.lagbias(p[f"{i}/lag"], L) + barrier
            a = tf.nn.softmax(a)
            o = tf.reshape(tf.transpose(tf.matmul(a, v), (0, 2, 1, 3)), (-1, L, d))
            z = z + drop(tf.matmul(o, p[f"{i}/out"]))
            y = self.norm(z, p[f"{i}/ln2"])
            y = tf.nn.relu(tf.matmul(y, p[f"{i}/up"]) + p[f"{i}/up_b"])
            z = z + drop(tf.matmul(y, p[f"{i}/down"]) + p[f"{i}/down_b"])
        z = self.norm(z, 1.0)
        a = tf.matmul(tf.matmul(z, p["pool/q"]), tf.matmul(z, p["pool/k"]), transpose_b=True) / math.sqrt(d)
        a = tf.nn.softmax(a + self.lagbias(p["pool/lag"], L) + barrier[:, 0])
        h = tf.matmul(a, items)
        if f["blend"]:
            h = h + tf.matmul(z, p["blend"])
        if f["gru"]:
            h = h + tf.matmul(self.gru(items * math.sqrt(d), mask, drop), p["gru/out"])
        h = tf.math.l2_normalize(h, -1, epsilon=1e-12)
        repeat = None
        if f["repeat"]:
            repeat = tf.matmul(tf.matmul(z, p["repeat/q"]), tf.matmul(z, p["repeat/k"]), transpose_b=True) / math.sqrt(32)
            repeat = repeat + self.lagbias(p["repeat/lag"], L) + tf.matmul(z, p["repeat/z"])
        return h, repeat

    def gru(self, x, mask, drop):
        p, d = self.p, self.d
        gx = tf.matmul(drop(x), p["gru/x"]) + p["gru/b"]
        L = tf.shape(x)[1]
        out = tf.TensorArray(tf.float32, L)
        h = tf.zeros((tf.shape(x)[0], d))
        m = tf.cast(mask, tf.float32)
        def body(t, h, out):
            g = gx[:, t]
            gh = tf.matmul(h, p["gru/h"])
            r = tf.sigmoid(g[:, :d] + gh[:, :d]); u = tf.sigmoid(g[:, d:2*d] + gh[:, d:2*d])
            c = tf.tanh(g[:, 2*d:] + r * gh[:, 2*d:])
            h2 = (1-u) * h + u * c
            h = h + m[:, t, None] * (h2 - h)
            return t + 1, h, out.write(t, h)
        _, _, out = tf.while_loop(lambda t, *_: t < L, body, (0, h, out))
        return drop(tf.transpose(out.stack(), (1, 0, 2)))


class Trainer:
    def __init__(self, n_items, counts, opt, flags=None, ):
        self.flags = {**FLAGS, **(flags or {})}
        self.opt = opt
        d = opt["d"]
        rng = np.random.default_rng(opt["seed"] + 1)
        self.emb = tf.Variable((rng.standard_normal((n_items + 1, d)) / math.sqrt(d)).astype(np.float32))
        self.em = tf.Variable(tf.zeros_like(self.emb)); self.ev = tf.Variable(tf.zeros_like(self.emb))
        self.et = tf.Variable(tf.zeros(n_items + 1))
        self.enc = Encoder(d, opt["max_length"], opt["seed"], self.flags)
        if self.flags["bias"]:
            self.b = tf.Variable(tf.zeros(n_items + 1)); 
        self.params = list(self.enc.p.values())
        self.m = [tf.Variable(tf.zeros_like(v)) for v in self.params]
        self.v = [tf.Variable(tf.zeros_like(v)) for v in self.params]
        self.t = tf.Variable(0.0)
        q = counts ** self.flags["alpha"]
        q = q / q.sum()
        self.q = q
        self.logq = tf.constant(np.log(np.maximum(q, 1e-30) * opt["negatives"]).astype(np.float32))
        self.cdf = np.cumsum(q)

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,)), tf.TensorSpec((None,), tf.int32), tf.TensorSpec(())])
    def step(self, ids, weights, negs, lr):
        opt = self.opt
        tau = opt["tau"]
        b, L = tf.shape(ids)[0], tf.shape(ids)[1] - 1
        flat = tf.concat([tf.reshape(ids, [-1]), negs], 0)
        uniq, idx = tf.unique(flat)
        sidx = tf.reshape(idx[: b * (L + 1)], (b, L + 1))
        nidx = idx[b * (L + 1) :]
        mult = tf.math.unsorted_segment_sum(tf.ones_like(nidx, tf.float32), nidx, tf.size(uniq))
        rows = tf.gather(self.emb, uniq)
        logq_u = tf.gather(self.logq, uniq)
        with tf.GradientTape() as tape:
            tape.watch(rows)
            E = tf.math.l2_normalize(rows, -1)
            x = tf.gather(E, sidx)
            inp, tgt = ids[:, :-1], ids[:, 1:]
            mask = inp > 0
            xin = x[:, :-1]
            h, rep = self.enc(xin, mask, opt["dropout"])
            valid = tf.where(mask)
            hs = tf.gather_nd(h, valid) / tau
            xt = x[:, 1:]
            pos = tf.reduce_sum(h * xt, -1) / tau  # b,L
            lq = tf.gather(logq_u, sidx); mu = tf.gather(mult, sidx)
            if self.flags["repeat"]:
                # last occurrence
                eq = inp[:, :, None] == inp[:, None, :]
                r = tf.range(L)
                later = eq & (r[None, None, :] > r[None, :, None])
                nxt = tf.reduce_min(tf.where(later, r[None, None, :], L + 1), -1)  # b,s
                lastocc = (r[None, None, :] <= r[None, :, None]) & (r[None, :, None] < nxt[:, None, :]) & mask[:, None, :]
                lo = tf.cast(lastocc, tf.float32)
                istgt = tf.cast(tgt[:, :, None] == inp[:, None, :], tf.float32)
                base = tf.matmul(h, xin, transpose_b=True) / tau
                own = tf.reduce_sum(tf.exp(base + rep) * lo * (1 - istgt), -1)
                twice = tf.reduce_sum(tf.exp(base - lq[:, None, :-1]) * mu[:, None, :-1] * lo * (1 - istgt), -1)
                twice += tf.exp(pos - lq[:, 1:]) * mu[:, 1:]
                pos = pos + tf.reduce_sum(rep * lo * istgt, -1)
            else:
                own = tf.zeros_like(pos)
                twice = tf.exp(pos - lq[:, 1:]) * mu[:, 1:]
            N = tf.gather(E, nidx)
            logits = tf.matmul(hs, N, transpose_b=True) - tf.gather(logq_u, nidx)
            est = tf.reduce_sum(tf.exp(logits), 1)
            g = lambda a: tf.gather_nd(a, valid)
            ps = g(pos)
            loss = tf.math.log(tf.maximum(est - g(twice), 0.0) + g(own) + tf.exp(ps)) - ps
            w = tf.gather(weights, valid[:, 0])
            loss = tf.reduce_sum(loss * w) / tf.cast(tf.shape(valid)[0], tf.float32)
        grads = tape.gradient(loss, [rows] + self.params)
        b1, b2 = 0.9, self.flags["beta2"]
        self.t.assign_add(1.0)
        c = lr * tf.sqrt(1 - b2**self.t) / (1 - b1**self.t)
        for p, gr, m, v in zip(self.params, grads[1:], self.m, self.v):
            m.assign(b1 * m + (1 - b1) * gr)
            v.assign(b2 * v + (1 - b2) * gr * gr)
            p.assign_sub(c * m / (tf.sqrt(v) + 1e-8))
        gr = grads[0]
        m = b1 * tf.gather(self.em, uniq) + (1 - b1) * gr
        v = b2 * tf.gather(self.ev, uniq) + (1 - b2) * gr * gr
        if self.flags["rowsteps"]:
            t = tf.gather(self.et, uniq) + 1
            self.et.scatter_update(tf.IndexedSlices(t, uniq))
            t = t[:, None]
            c = lr * tf.sqrt(1 - b2**t) / (1 - b1**t)
        self.em.scatter_update(tf.IndexedSlices(m, uniq))
        self.ev.scatter_update(tf.IndexedSlices(v, uniq))
        self.emb.scatter_sub(tf.IndexedSlices(self.flags['elr'] * c * m / (tf.sqrt(v) + 1e-8), uniq))
        return loss

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, None))])
    def score(self, ids, E):
        x = tf.gather(E, ids)
        h, rep = self.enc(x, ids > 0, 0.0)
        s = tf.matmul(h[:, -1] / self.opt["tau"], E, transpose_b=True)
        if self.flags["repeat"]:
            L = tf.shape(ids)[1]
            r = rep[:, -1]
            eq = ids[:, :, None] == ids[:, None, :]
            rg = tf.range(L)
            dup = tf.reduce_any(eq & (rg[None, None, :] > rg[None, :, None]), -1)
            r = tf.where(dup | (ids == 0), 0.0, r)
            b = tf.shape(ids)[0]
            ii = tf.stack([tf.repeat(tf.range(b), L), tf.reshape(ids, [-1])], 1)
            s = tf.tensor_scatter_nd_add(s, ii, tf.reshape(r, [-1]))
        return s
