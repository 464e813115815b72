"use strict";

const STORED_KEY = "lastaisle-key";
const element = (id) => document.getElementById(id);
const titles = new Map();

function made(name, text, kind) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (kind) node.className = kind;
  return node;
}

async function call(path, body) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(STORED_KEY) ?? ""}` };
  const options = body === undefined ? { headers } : { headers, method: "POST", body: JSON.stringify(body) };
  const began = performance.now();
  const response = await fetch(path, options);
  const content = await response.json();
  if (!response.ok) {
    const error = new Error(content.message);
    error.status = response.status;
    throw error;
  }
  return { content, milliseconds: performance.now() - began };
}

function report(error) {
  if (error.status === 401) {
    sessionStorage.removeItem(STORED_KEY);
    element("workbench").hidden = true;
    element("key-form").hidden = false;
  }
  const box = element("problems");
  box.textContent = error.status ? error.message : "The service cannot be reached.";
  box.hidden = false;
}

async function open() {
  try {
    const { content: served } = await call("v1/model");
    const since = new Date(served.since).toLocaleString();
    const alias = served.alias ? `@${served.alias}` : "";
    element("served").textContent =
      `${served.model}${alias}, version ${served.version}, ${served.items.toLocaleString()} items, since ${since}`;
    element("seen").checked = served.exclude_seen;
    element("search-field").hidden = !served.catalogue;
    element("filter").disabled = !served.catalogue;
    if (!served.catalogue) element("filter").placeholder = "needs a catalogue";
    element("problems").textContent = served.problems.join("\n");
    element("problems").hidden = served.problems.length === 0;
    element("key-form").hidden = true;
    element("workbench").hidden = false;
  } catch (error) {
    report(error);
  }
}

function session() {
  return element("items").value.split(/[\s,;]+/).filter((item) => item !== "");
}

function why(item) {
  if (item.reason === "popular") return "popular";
  if (item.reason.startsWith("rule:")) return `rule ${item.reason.slice(5)}`;
  if (item.because === undefined) return "the session";
  const title = titles.get(item.because);
  return `because of ${title ? `${title} (${item.because})` : item.because}`;
}

let endWatch = () => {};

// Send what is on the screen as the page of a shop does, if the person names a placement.
function watch(answer, placement) {
  endWatch();
  endWatch = () => {};
  if (!placement) return;
  const send = (listed) => call("v1/feedback", listed.map((one) => ({ ...one, placement }))).catch(report);
  endWatch = watchList(answer, [...element("list").tBodies[0].rows], send);
}

function show(answer, milliseconds) {
  const note = element("answer");
  const policy = answer.policy === "model" ? "the model’s list" : "the popular items";
  note.className = "hint";
  const arm = answer.arm === undefined ? "" : `, arm ${answer.arm} of ${answer.experiment}`;
  note.textContent = `${answer.items.length} items in ${milliseconds.toFixed(1)} ms: ${policy} of version ${answer.version}${arm}.`;
  const rows = element("list").tBodies[0];
  rows.replaceChildren();
  const scores = answer.items.map((item) => item.score).filter((score) => score !== null);
  const [lowest, highest] = [Math.min(...scores), Math.max(...scores)];
  answer.items.forEach((item, position) => {
    const row = rows.insertRow();
    row.insertCell().textContent = position + 1;
    const name = row.insertCell();
    if (item.title !== undefined) {
      titles.set(item.id, item.title);
      name.append(made("div", item.title, "title"), made("div", item.id, "id"));
    } else {
      name.append(made("div", item.id, "title"));
    }
    const score = row.insertCell();
    score.className = "number";
    if (item.score !== null) {
      score.append(item.score.toPrecision(4));
      const meter = made("meter");
      meter.value = highest > lowest ? 0.05 + (0.95 * (item.score - lowest)) / (highest - lowest) : 1;
      score.append(meter);
    }
    row.insertCell().append(made("div", why(item), "why"));
  });
  element("list").hidden = answer.items.length === 0;
}

async function recommend() {
  const filter = element("filter").value.trim();
  const placement = element("placement").value.trim();
  const question = {
    items: session(),
    k: Number(element("k").value),
    consent: element("consent").checked,
    exclude_seen: element("seen").checked,
    explain: true,
    ...(filter ? { filter } : {}),
    ...(placement ? { placement } : {}),
  };
  try {
    const { content, milliseconds } = await call("v1/recommendations", question);
    show(content, milliseconds);
    watch(content, placement);
  } catch (error) {
    if (error.status !== 422) return report(error);
    element("answer").className = "hint error";
    element("answer").textContent = error.message;
    element("list").hidden = true;
  }
}

let searches = 0;
async function search() {
  const number = ++searches;
  const text = element("search").value.trim();
  const list = element("found");
  if (!text) return list.replaceChildren();
  try {
    const { content } = await call(`v1/items?search=${encodeURIComponent(text)}`);
    if (number !== searches) return; // a later search has been asked meanwhile
    list.replaceChildren(
      ...content.map((item) => {
        titles.set(item.id, item.title);
        const button = made("button", item.title);
        button.type = "button";
        button.addEventListener("click", () => {
          element("items").value = [...session(), item.id].join(", ");
          element("search").value = "";
          list.replaceChildren();
        });
        const entry = made("li");
        entry.append(button);
        return entry;
      }),
    );
  } catch (error) {
    report(error);
  }
}

element("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(STORED_KEY, element("key").value.trim());
  element("key").value = "";
  open();
});
element("session-form").addEventListener("submit", (event) => {
  event.preventDefault();
  recommend();
});
element("search").addEventListener("input", search);
if (sessionStorage.getItem(STORED_KEY)) open();
