"""Champion and previous are right after any sequence of moves: the ledger against a plain list."""

from datetime import UTC, datetime

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import data, sampled_from

from lastaisle.registry.ledger import (
    ADOPT,
    ANCHOR,
    CANARY,
    LOST,
    MOVED_BY_HAND,
    PROMOTE,
    REFUSE,
    REGISTER,
    RETIRE,
    ROLLBACK,
    SHADOW,
    Move,
    Standing,
    rolled_back_versions,
    standing,
)

SOME = data()


class Releases(RuleBasedStateMachine):
    """A shop whose versions come, serve, fail, return and get lost in any order.

    Attributes:
        serves: the plain list: the versions to which rollback after rollback would return, the champion last.
        left: the versions that were rolled back and did not become champion again.
    """

    def __init__(self):
        super().__init__()
        self.moves, self.serves, self.registered = [], [], []
        self.left, self.gone = set(), set()

    def write(self, action, version, alias="champion"):
        before = standing(self.moves)
        moment = datetime(2025, 10, 9, tzinfo=UTC)
        move = Move(str(len(self.moves)), moment, "t", action, "m", alias, None, version, "r", "run", "key")
        if action != REGISTER:
            move = Move(*(*vars(move).values(),)[:6], before.aliases[alias], *(*vars(move).values(),)[7:])
        self.moves.append(move)

    def present(self):
        return [version for version in self.registered if version not in self.gone]

    @rule()
    def register(self):
        self.registered.append(str(len(self.registered) + 1))
        self.write(REGISTER, self.registered[-1], "challenger")

    @precondition(lambda self: self.present())
    @rule(drawn=SOME, action=sampled_from([REFUSE, SHADOW, CANARY, RETIRE, ANCHOR, MOVED_BY_HAND]))
    def move_no_champion(self, drawn, action):
        version = drawn.draw(sampled_from(self.present()))
        if action in (SHADOW, CANARY, RETIRE) and version in self.serves:
            return
        alias = action if action in (SHADOW, CANARY, ANCHOR) else "champion"
        self.write(action, version, alias)

    @precondition(lambda self: self.present())
    @rule(drawn=SOME)
    def promote(self, drawn):
        version = drawn.draw(sampled_from(self.present()))
        self.write(PROMOTE, version)
        self.serves = [other for other in self.serves if other != version] + [version]
        self.left.discard(version)

    @precondition(lambda self: len(self.serves) > 1)
    @rule()
    def roll_back(self):
        target = standing(self.moves).previous
        assert target == self.serves[-2]
        self.write(ROLLBACK, target)
        self.left.add(self.serves.pop())
        self.left.discard(target)

    @precondition(lambda self: self.present() and self.serves)
    @rule(drawn=SOME, action=sampled_from([ROLLBACK, ADOPT]))
    def return_to_any(self, drawn, action):
        version = drawn.draw(sampled_from(self.present()))
        if version == self.serves[-1]:
            return
        self.write(action, version)
        self.left.add(self.serves[-1])
        if version in self.serves:
            while self.serves[-1] != version:
                self.left.add(self.serves.pop())
        else:
            self.serves.append(version)
        self.left.discard(version)

    @precondition(lambda self: self.serves)
    @rule(drawn=SOME)
    def lose(self, drawn):
        version = drawn.draw(sampled_from(self.serves))
        self.write(LOST, version)
        self.serves.remove(version)
        self.gone.add(version)

    @invariant()
    def the_newest_serves_and_the_one_before_is_previous(self):
        now = standing(self.moves)
        assert list(now.champions) == self.serves
        assert now.champion == (self.serves[-1] if self.serves else None)
        assert now.previous == (self.serves[-2] if len(self.serves) > 1 else None)
        assert now.previous is None or now.previous != now.champion
        assert not self.gone & {*now.aliases.values()}
        assert now.champion not in (now.shadow, now.canary) or now.champion is None

    @invariant()
    def a_version_that_was_left_is_known_until_it_serves_again(self):
        assert set(rolled_back_versions(self.moves)) == self.left

    @invariant()
    def the_moves_alone_decide(self):
        now = Standing()
        for move in self.moves:
            now = now.after(move)
        assert now == standing(self.moves)


Releases.TestCase.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)
test_releases = Releases.TestCase
