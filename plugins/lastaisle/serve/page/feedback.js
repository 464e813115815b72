"use strict";

// Tell what of a list was on the screen, and what the shopper clicked.
//
// An item counts as shown when half of its card has been visible for a second. A clicked item was shown, too.
//
// answer: the answer of /v1/recommendations.
// cards: the elements of the answer's items, in the same order.
// send: takes a list of feedback, as /v1/feedback takes it.
// Returns a function that ends the watch.
function watchList(answer, cards, send, { seconds = 1, part = 0.5 } = {}) {
  const ended = new AbortController();
  const visible = new Map(); // the places of the cards that are visible now, each with its timer
  const shown = new Set();
  let unsent = []; // the places that were shown and not sent yet
  let sending;

  const feedback = (kind, places) => ({
    recommendation_id: answer.recommendation_id,
    kind,
    items: places.map((place) => answer.items[place].id),
    positions: places.map((place) => place + 1),
  });

  function flush(...further) {
    clearTimeout(sending);
    sending = undefined;
    const all = unsent.length > 0 ? [feedback("shown", unsent), ...further] : further;
    unsent = [];
    if (all.length > 0) send(all);
  }

  function note(place) {
    if (shown.has(place)) return;
    shown.add(place);
    unsent.push(place);
    sending ??= setTimeout(() => flush(), 200); // cards that are shown together are sent together
  }

  function setTimer(place) {
    clearTimeout(visible.get(place));
    visible.set(place, document.hidden ? undefined : setTimeout(note, 1000 * seconds, place));
  }

  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, intersectionRatio } of entries) {
        const place = cards.indexOf(target);
        clearTimeout(visible.get(place));
        visible.delete(place);
        if (intersectionRatio >= part) setTimer(place);
      }
    },
    { threshold: part },
  );
  cards.forEach((card, place) => {
    observer.observe(card);
    const click = (event) => {
      if (event.button > 1) return; // the right button opens a menu
      note(place);
      flush(feedback("clicked", [place]));
    };
    card.addEventListener("click", click, { signal: ended.signal });
    card.addEventListener("auxclick", click, { signal: ended.signal }); // the middle button opens a tab
  });
  const changeVisibility = () => {
    for (const place of visible.keys()) setTimer(place);
    if (document.hidden) flush();
  };
  document.addEventListener("visibilitychange", changeVisibility, { signal: ended.signal });
  addEventListener("pagehide", () => flush(), { signal: ended.signal });

  return () => {
    ended.abort();
    observer.disconnect();
    for (const timer of visible.values()) clearTimeout(timer);
    flush();
  };
}
