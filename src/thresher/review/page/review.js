// The review page. What is shown is kept here, so that a key answers before the network does; what is
// called saved is what the server has answered.
//
//   key → decide → unsaved → outbox → POST /api/decide → saved
//                ↘ the next undecided sample, fetched ahead
//
// Names, texts and identifiers enter the page as text nodes and attributes only, never as markup.

const AHEAD = 24; // samples fetched at once
const PICTURES_AHEAD = 8;
const KEPT = 400; // samples in memory
const GRID = 500; // samples of a pair that are decided together
const CHUNK = 200; // samples of one answer
const LISTED = 50; // classes that a search lists
const POLL = 1000; // milliseconds
const COMMANDS = {
  Enter: "accept", " ": "accept", a: "accept", k: "keep", x: "exclude", u: "unsure",
  z: "undo", Backspace: "undo", ArrowLeft: "back", ArrowRight: "forward", n: "next",
  g: "mode", "?": "help", "/": "search", Escape: "dismiss",
};
const GRID_COMMANDS = {
  ...COMMANDS, " ": "toggle", s: "select", "[": "pair-before", "]": "pair-after",
  ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down", n: undefined, "/": undefined,
};
const WORDS = { accept: "accepted", keep: "kept", exclude: "excluded", unsure: "unsure" };

const at = (id) => document.getElementById(id);
const count = (number) => number.toLocaleString("en");

let run = null; // of /api/run
let mode = "single";
let wide = false; // all rows, not only the flagged
let place = null; // shown now; null = all is decided
let drawn = null; // the item on the screen
let decided = { all: 0, flagged: 0 };
let event = 0; // the newest that was taken over
let busy = 0; // answers that the next key has to wait for
const keys = []; // pressed meanwhile
const items = new Map(); // by place
const pictures = new Map(); // by sample_id, fetched ahead
const unsaved = new Map(); // by place: {decision, label}
const outbox = [];
let posted = 0; // parcels, ever
// of this page alone; crypto.randomUUID is not there when the page comes from another machine
const page = [...crypto.getRandomValues(new Uint32Array(4))].map((each) => each.toString(36)).join("-");
let delivering = false;
let fetching = null;

// ------------------------------------------------------------------ asking
class Refused extends Error {}

async function ask(path, content) {
  const options = content === undefined ? {} : {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(content),
  };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The review does not answer. Is it still running?");
  }
  const found = await response.json();
  if (response.ok) {
    // an answer to a question does not mean that what waits could be saved
    if (content !== undefined || !outbox.length) trouble("network", null);
    return found;
  }
  const sentence = [found.error, found.fix].filter(Boolean).join(" ");
  throw response.status === 400 ? new Refused(sentence) : new Error(sentence);
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** Hold keys back until something is known that they depend on. */
async function meanwhile(work) {
  busy += 1;
  try {
    return await work();
  } catch (error) {
    keys.length = 0; // they were meant for what has not come
    trouble(error instanceof Refused ? "refused" : "network", error.message);
  } finally {
    busy -= 1;
    while (busy === 0 && keys.length) keys.shift()();
  }
}

const troubles = {}; // network: until it answers again; refused: until somebody has read it

function trouble(kind, sentence) {
  if ((troubles[kind] ?? null) === sentence) return;
  troubles[kind] = sentence;
  const all = [troubles.refused, troubles.network].filter(Boolean).join(" ");
  at("trouble-what").textContent = all;
  at("trouble").hidden = !all;
  at("trouble-close").hidden = !troubles.refused;
}

function say(sentence) {
  at("said").textContent = sentence;
}

// ------------------------------------------------------------------ saving
function post(parcel) {
  posted += 1;
  outbox.push(parcel);
  showSaved();
  deliver();
}

async function deliver() {
  if (delivering) return;
  delivering = true;
  let wait = 250;
  while (outbox.length) {
    const parcel = outbox[0];
    try {
      const answer = await ask(parcel.path, parcel.content);
      outbox.shift();
      wait = 250;
      parcel.settled(answer);
    } catch (error) {
      if (error instanceof Refused) {
        outbox.shift();
        trouble("refused", `${parcel.lost} ${error.message}`);
        parcel.failed();
      } else {
        trouble("network", `Not saved: ${error.message} Trying again …`);
        showSaved("not saved");
        await pause(wait);
        wait = Math.min(2 * wait, 4000);
      }
    }
    if (!outbox.length) showSaved();
  }
  delivering = false;
}

function showSaved(words) {
  const saved = at("saved");
  saved.textContent = words ?? (outbox.length ? "saving …" : "saved");
  saved.classList.toggle("wrong", words !== undefined);
  at("done-saved").hidden = outbox.length > 0;
}

/** The decision that holds for a place, saved or not. */
function standing(at_) {
  return unsaved.get(at_) ?? (items.get(at_)?.decision ? items.get(at_) : null);
}

/** Decide samples together: shown at once, saved in its turn. */
function commit(chosen, decision, label) {
  const mark = { decision, label };
  for (const item of chosen) {
    if (!standing(item.place)) {
      decided.all += 1;
      if (item.place < run.flagged) decided.flagged += 1;
    }
    unsaved.set(item.place, mark);
  }
  showProgress();
  const settle = (answer) => {
    for (const item of chosen) {
      if (unsaved.get(item.place) === mark) unsaved.delete(item.place);
    }
    if (answer) takeOver(answer.changes);
    if (answer && !outbox.length) count_(answer);
  };
  return new Promise((done) => {
    post({
      path: "/api/decide",
      // the name lets it be sent again when its answer is lost
      content: { sample_ids: chosen.map((item) => item.sample_id), decision, request: `${page}-${posted}` },
      lost: chosen.length === 1
        ? `Not decided: sample ${count(chosen[0].place + 1)}.`
        : `Not decided: ${count(chosen.length)} samples.`,
      settled: (answer) => { settle(answer); done(true); },
      failed: () => {
        settle(null);
        refresh();
        done(false);
      },
    });
  });
}

/** What the server says of samples, unless this page has decided them anew. */
function takeOver(changes) {
  for (const change of changes) {
    const item = items.get(change.place);
    if (item) Object.assign(item, { decision: change.decision, label: change.label });
  }
  if (drawn && changes.some((change) => change.place === drawn.place)) drawStanding();
  if (mode === "grid") markDecided(changes);
}

function count_(answer) {
  decided = { all: answer.decided, flagged: answer.decided_flagged };
  showProgress();
}

async function refresh() {
  if (!run) return;
  try {
    const before = posted;
    const answer = await ask(`/api/changes?since=${event}`);
    if (before !== posted) return; // older, perhaps, than what this page has done meanwhile
    event = answer.event;
    takeOver(answer.changes);
    if (!outbox.length) count_(answer);
  } catch (error) {
    if (!outbox.length) trouble("network", error.message);
  }
}

function undo() {
  return meanwhile(() => new Promise((done) => {
    post({
      path: "/api/undo",
      content: { request: `${page}-${posted}` },
      lost: "Not undone.",
      failed: () => {
        keys.length = 0;
        done();
      },
      settled: async (answer) => {
        takeOver(answer.changes);
        count_(answer);
        if (!answer.changes.length) say("Nothing is left to undo.");
        else {
          say(`Undone: ${answer.changes.length} sample${answer.changes.length === 1 ? "" : "s"}.`);
          const first = Math.min(...answer.changes.map((change) => change.place));
          if (mode === "grid") {
            answer.changes.forEach((change) => leftOut.delete(change.place));
            await openPairs();
          } else {
            if (first >= run.flagged && !wide) widen(true);
            await go(first);
          }
        }
        done();
      },
    });
  }));
}

// ------------------------------------------------------------------ one by one
const end = () => (wide ? run.items : run.flagged);

async function load(from) {
  const first = Math.max(0, from);
  const before = new Set(unsaved.keys()); // of these, what is known here is newer
  const { items: found } = await ask(`/api/items?from=${first}&count=${AHEAD}`);
  for (const item of found) {
    if (!(before.has(item.place) && items.has(item.place))) items.set(item.place, item);
  }
  for (const known of items.keys()) {
    if (items.size <= KEPT) break;
    if (Math.abs(known - (place ?? first)) > AHEAD && !visible.has(known)) items.delete(known);
  }
}

/** Fetch the samples after this one, and their pictures, before they are wanted. */
async function prefetch() {
  const from = place;
  if (from === null) return;
  let missing = from + 1;
  while (missing < end() && missing <= from + AHEAD && items.has(missing)) missing += 1;
  if (missing < end() && missing < from + AHEAD / 2 && !fetching) {
    fetching = load(missing).catch(() => {}).finally(() => { fetching = null; });
    await fetching;
  }
  for (let ahead = from - 1; ahead <= from + PICTURES_AHEAD; ahead += 1) {
    const item = items.get(ahead);
    if (item?.picture) picture(item);
  }
}

function go(to) {
  place = to;
  if (items.has(to)) {
    draw(items.get(to));
    prefetch();
    return undefined;
  }
  return meanwhile(async () => {
    if (fetching) await fetching;
    try {
      if (!items.has(to)) await load(to - 4);
    } catch (error) {
      if (place === to) place = drawn?.place ?? place; // what is seen is what the next key is about
      throw error;
    }
    if (place !== to) return;
    draw(items.get(to));
    prefetch();
  });
}

/** To the first undecided sample from a place on; from the end to the beginning. */
function goOn(from) {
  let to = from;
  while (to < end() && items.has(to) && standing(to)) to += 1;
  if (to < end() && items.has(to)) return go(to);
  return meanwhile(async () => {
    const found = (await undecided(to, end())) ?? (await undecided(0, Math.min(to, end())));
    if (found === null) finish();
    else await go(found);
  });
}

async function undecided(from, until) {
  let start = from;
  while (start < until) {
    const before = new Set(unsaved.keys()); // the answer may be older than their being saved
    const { place: found } = await ask(`/api/undecided?from=${start}&until=${until}`);
    if (found === null || !(before.has(found) || unsaved.has(found))) return found;
    start = found + 1; // decided, and on its way
  }
  return null;
}

function finish() {
  place = null;
  drawn = null;
  show("done");
  at("done-what").textContent = wide
    ? "All labels are decided."
    : run.flagged ? "All suspect labels are decided." : "No label is suspect.";
  at("next").textContent = `thresher export ${quoted(run.path)} --out corrected`;
  say(at("done-what").textContent);
}

const quoted = (path) => (/^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\"'\"'")}'`);

/** Decide the sample on the screen, and move on. */
function decide(decision, label) {
  const item = drawn;
  if (!item) return;
  commit([item], decision, label);
  const what = decision.startsWith("other:") ? label : WORDS[decision];
  say(`Sample ${item.place + 1}: ${what}.`);
  goOn(item.place + 1);
}

function choose(number) {
  if (!drawn) return;
  if (number === drawn.suggested) decide("accept", run.classes[number]);
  else if (number === drawn.given) decide("keep", run.classes[number]);
  else decide(`other:${run.classes[number]}`, run.classes[number]);
}

function answer(what) {
  if (!drawn) return;
  if (what === "accept" && drawn.suggested === null) {
    say("There is no suggestion: choose a class.");
    at("accept-what").textContent = "– nothing is suggested";
    return;
  }
  const number = what === "accept" ? drawn.suggested : drawn.given;
  decide(what, what === "exclude" ? null : run.classes[number]);
}

// ------------------------------------------------------------------ drawing one sample
const percent = (p) => (p === null ? "" : p > 0 && p < 0.01 ? "< 1 %" : `${Math.round(100 * p)} %`);

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function show(id) {
  for (const each of ["waiting", "single", "done", "grid"]) at(each).hidden = each !== id;
}

function draw(item) {
  show("single");
  drawn = item;
  const name = (number) => (number === null ? "–" : run.classes[number]);
  at("place").textContent = count(item.place + 1);
  at("sample-id").textContent = item.sample_id;
  at("sample-id").title = item.sample_id;
  at("held-out").hidden = item.split !== "held-out";
  at("not-flagged").hidden = item.place < run.flagged;
  at("given").textContent = name(item.given);
  at("suggested").textContent = name(item.suggested);
  at("p-given").textContent = percent(item.p_given);
  at("p-suggested").textContent = percent(item.p_suggested);
  at("bar-given").style.width = `${100 * (item.p_given ?? 0)}%`;
  at("bar-suggested").style.width = `${100 * (item.p_suggested ?? 0)}%`;
  at("accept-what").textContent = name(item.suggested);
  at("keep-what").textContent = name(item.given);
  at("why").textContent = item.why ?? "";
  at("why").hidden = !item.why;
  at("shown").replaceChildren(...shownOf(item));
  drawHistory(item.history);
  drawNeighbours(item.neighbours);
  at("likely").replaceChildren(...item.likely.map((number, index) => {
    const button = element("button", "class");
    button.type = "button";
    button.dataset.class = number;
    button.dataset.key = index + 1;
    button.append(element("kbd", "", String(index + 1)), element("span", "", run.classes[number]));
    if (number === item.given) button.classList.add("given");
    if (number === item.suggested) button.classList.add("suggested");
    return button;
  }));
  drawStanding();
  closeSearch();
}

function drawStanding() {
  const now = drawn && standing(drawn.place);
  at("standing").hidden = !now;
  if (now) {
    at("standing").textContent =
      now.decision === "exclude" || now.decision === "unsure"
        ? WORDS[now.decision]
        : `${now.decision === "keep" ? "kept" : "decided"}: ${now.label}`;
  }
}

function shownOf(item) {
  const parts = [];
  if (item.picture) parts.push(picture(item));
  if (item.text !== null) parts.push(element("blockquote", "text", item.text));
  else if (item.cells) parts.push(cellsOf(item.cells));
  if (!parts.length) parts.push(element("p", "tile-none", "Nothing is kept to show of this sample."));
  return parts;
}

function cellsOf(cells) {
  const entries = Object.entries(cells);
  const list = element("dl", entries.length === 1 ? "cells only" : "cells");
  for (const [key, value] of entries) {
    const pair = element("div", value.length > 24 ? "long" : "");
    pair.append(element("dt", "", key), element("dd", "", value));
    list.append(pair);
  }
  return list;
}

/** The picture of a sample, or what is wrong with it; fetched once. */
function picture(item) {
  const known = pictures.get(item.sample_id);
  if (known) return known;
  const frame = pictureOf(item.sample_id);
  pictures.set(item.sample_id, frame);
  if (pictures.size > 64) pictures.delete(pictures.keys().next().value);
  return frame;
}

function pictureOf(sample, lazy = false) {
  const frame = element("span", "picture");
  const image = element("img");
  const path = `/image?sample_id=${encodeURIComponent(sample)}`;
  if (lazy) image.loading = "lazy";
  image.alt = `sample ${sample}`;
  image.addEventListener("load", () => {
    if (Math.max(image.naturalWidth, image.naturalHeight) <= 64) image.classList.add("pixelated");
  });
  image.addEventListener("error", async () => {
    let sentence = "The picture cannot be shown.";
    try {
      const response = await fetch(path);
      if (!response.ok) sentence = (await response.json()).error;
    } catch {
      pictures.delete(sample); // try again when it is wanted again
    }
    frame.replaceChildren(element("span", "tile-none", sentence));
  });
  image.src = path;
  frame.append(image);
  return frame;
}

function drawHistory(history) {
  at("history").hidden = !history?.length;
  if (!history?.length) return;
  const values = history.length === 1 ? [history[0], history[0]] : history;
  const points = values.map(
    (value, index) => `${((100 * index) / (values.length - 1)).toFixed(2)},${(23 - (22 * value) / 255).toFixed(2)}`,
  );
  at("history").querySelector(".top").setAttribute("d", `M${points.join("L")}`);
  at("history").querySelector(".area").setAttribute("d", `M0,24L${points.join("L")}L100,24Z`);
}

function drawNeighbours(neighbours) {
  at("beside").hidden = !neighbours.length;
  at("neighbours").replaceChildren(...neighbours.map((each) => {
    const line = element("li");
    if (each.picture) line.append(pictureOf(each.sample_id));
    line.append(element("b", "", each.label), element("span", "id", each.sample_id));
    return line;
  }));
}

function showProgress() {
  const of = end();
  const done = wide ? decided.all : decided.flagged;
  at("decided").textContent = count(done);
  at("of").textContent = count(of);
  at("of-what").textContent = wide ? "labels" : of === 1 ? "suspect label" : "suspect labels";
  const bar = at("progress");
  bar.setAttribute("aria-valuemax", of);
  bar.setAttribute("aria-valuenow", done);
  bar.firstElementChild.style.width = `${of ? (100 * done) / of : 0}%`;
}

// ------------------------------------------------------------------ search
let matches = [];
let marked = 0;

function openSearch() {
  at("search").focus();
  fillSearch();
}

function closeSearch() {
  const search = at("search");
  search.value = "";
  at("found").hidden = true;
  search.setAttribute("aria-expanded", "false");
  search.removeAttribute("aria-activedescendant");
  if (document.activeElement === search) at("main").focus({ preventScroll: true });
}

function fillSearch() {
  const wanted = at("search").value.trim().toLocaleLowerCase();
  const starts = [];
  const holds = [];
  run.classes.forEach((name, number) => {
    const where = name.toLocaleLowerCase().indexOf(wanted);
    if (where === 0) starts.push(number);
    else if (where > 0) holds.push(number);
  });
  matches = [...starts, ...holds].slice(0, LISTED);
  marked = 0;
  at("found").replaceChildren(...matches.map((number, index) => {
    const line = element("li", "", run.classes[number]);
    line.id = `found-${index}`;
    line.role = "option";
    line.dataset.class = number;
    return line;
  }));
  if (!matches.length) at("found").replaceChildren(element("li", "none", "no such class"));
  at("found").hidden = false;
  at("search").setAttribute("aria-expanded", "true");
  markFound();
}

function markFound() {
  [...at("found").children].forEach((line, index) => {
    line.setAttribute("aria-selected", index === marked && matches.length > 0);
    if (index === marked) line.scrollIntoView({ block: "nearest" });
  });
  if (matches.length) at("search").setAttribute("aria-activedescendant", `found-${marked}`);
  else at("search").removeAttribute("aria-activedescendant");
}

function searchKey(pressed) {
  if (pressed.key === "Escape") closeSearch();
  else if (pressed.key === "Enter") {
    if (matches.length && !at("found").hidden) choose(matches[marked]);
  } else if (pressed.key === "ArrowDown" || pressed.key === "ArrowUp") {
    if (at("found").hidden) fillSearch();
    const step = pressed.key === "ArrowDown" ? 1 : -1;
    marked = (marked + step + matches.length) % Math.max(1, matches.length);
    markFound();
  } else return;
  pressed.preventDefault();
}

// ------------------------------------------------------------------ pairs
let pairs = [];
let pair = null; // {given, suggested}
let tiles = []; // items shown
const leftOut = new Set(); // places
const visible = new Set(); // places in the grid
let more = 0; // undecided ones that are not shown

async function openPairs() {
  pairs = (await ask("/api/pairs")).pairs;
  const same = (each) => pair && each.given === pair.given && each.suggested === pair.suggested;
  pair = pairs.find(same) ?? pairs.find((each) => each.decided < each.count) ?? pairs[0] ?? null;
  drawPairs();
  show("grid");
  await openPair();
}

async function openPair() {
  tiles = [];
  more = 0;
  visible.clear();
  if (pair) {
    const { given, suggested } = pair;
    const found = await ask(`/api/pair?given=${given}&suggested=${suggested}&count=${GRID}`);
    if (pair.given !== given || pair.suggested !== suggested) return; // another one was chosen
    const places = found.places.filter((each) => !unsaved.has(each));
    more = found.undecided - found.places.length;
    for (let start = 0; start < places.length; start += CHUNK) {
      const part = places.slice(start, start + CHUNK).join(",");
      tiles.push(...(await ask(`/api/items?places=${part}`)).items);
    }
    for (const item of tiles) {
      items.set(item.place, item);
      visible.add(item.place);
      // nobody accepts unseen what there is nothing to see of
      if (!item.picture && item.text === null && !item.cells) leftOut.add(item.place);
    }
  }
  drawTiles();
}

function drawPairs() {
  at("pairs").replaceChildren(...pairs.map((each, index) => {
    const line = element("li");
    const button = element("button", "pair");
    button.type = "button";
    button.dataset.pair = index;
    if (each === pair) button.setAttribute("aria-current", "true");
    const words = element("span", "words");
    words.append(
      element("b", "g", run.classes[each.given]), " → ", element("b", "s", run.classes[each.suggested]),
    );
    const open = each.count - each.decided;
    const left = !open ? "✓" : each.decided ? `${count(open)} / ${count(each.count)}` : count(open);
    button.append(words, element("span", "number", left));
    if (!open) button.setAttribute("aria-label", `${words.textContent}, all decided`);
    line.append(button);
    return line;
  }));
}

function drawTiles() {
  at("pair").replaceChildren();
  if (pair) {
    at("pair").append(
      element("span", "g", run.classes[pair.given]), " → ", element("span", "s", run.classes[pair.suggested]),
    );
  } else at("pair").textContent = "No label is suspect.";
  at("tiles").replaceChildren(...tiles.map((item, index) => {
    const line = element("li");
    const button = element("button", "tile");
    button.type = "button";
    button.dataset.tile = index;
    button.tabIndex = index ? -1 : 0;
    button.title = item.sample_id;
    if (item.picture) button.append(pictureOf(item.sample_id, true));
    else if (item.text !== null) button.append(element("span", "words", item.text.slice(0, 400)));
    else if (item.cells) {
      const all = Object.entries(item.cells).slice(0, 8).map((each) => each.join(": "));
      button.append(element("span", "words", all.join(" · ")));
    } else {
      const nothing = "Nothing is kept to show of this sample.";
      button.append(element("span", "words nothing", `${item.sample_id} – ${nothing}`));
    }
    const foot = element("span", "foot");
    foot.append(
      element("span", "g", percent(item.p_given)), " → ", element("span", "s", percent(item.p_suggested)),
    );
    if (item.split === "held-out") foot.append(element("span", "badge", "held out"));
    button.append(foot);
    line.append(button);
    return line;
  }));
  drawSelection();
}

/** What another page decides meanwhile is left out here, and says why. */
function markDecided(changes) {
  for (const change of changes) {
    const index = tiles.findIndex((item) => item.place === change.place);
    if (index < 0 || unsaved.has(change.place)) continue;
    const tile = at("tiles").querySelector(`[data-tile="${index}"]`);
    tile.querySelector(".elsewhere")?.remove();
    if (change.decision === null) leftOut.delete(change.place);
    else {
      leftOut.add(change.place);
      tile.querySelector(".foot").append(element("span", "badge elsewhere", WORDS[change.decision] ?? change.label));
    }
    drawSelection();
  }
}

const selected = () => tiles.filter((item) => !leftOut.has(item.place));

function drawSelection() {
  const chosen = selected().length;
  for (const button of at("tiles").querySelectorAll(".tile")) {
    button.setAttribute("aria-pressed", !leftOut.has(tiles[button.dataset.tile].place));
  }
  const rest = more ? ` The next ${count(more)} follow.` : "";
  at("bunch-note").textContent = tiles.length
    ? `${count(chosen)} of ${count(tiles.length)} selected: click, or press Space on, those that do not belong.${rest}`
    : pair ? "All of this pair are decided. Press ] for the next pair." : "";
  for (const each of at("grid").querySelectorAll(".n")) each.textContent = count(chosen);
  for (const each of at("grid").querySelectorAll(".answer")) each.disabled = !chosen;
  say(at("bunch-note").textContent);
}

function toggle(index) {
  const where = tiles[index]?.place;
  if (where === undefined) return;
  if (!leftOut.delete(where)) leftOut.add(where);
  drawSelection();
}

function decideTogether(decision) {
  const chosen = selected();
  if (!chosen.length) return;
  const number = decision === "accept" ? pair.suggested : pair.given;
  const label = decision === "exclude" ? null : run.classes[number];
  meanwhile(async () => {
    const saved = commit(chosen, decision, label);
    tiles = tiles.filter((item) => leftOut.has(item.place));
    drawTiles();
    const noun = chosen.length === 1 ? "sample" : "samples";
    if (await saved) say(`${count(chosen.length)} ${noun} ${WORDS[decision]}.`);
    await openPairs();
    focusTile(0);
  });
}

function choosePair(index) {
  if (!pairs[index]) return;
  pair = pairs[index];
  drawPairs();
  meanwhile(openPair);
}

function stepPair(step) {
  choosePair(pairs.indexOf(pair) + step);
  at("pairs").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
}

function focusTile(index) {
  const buttons = at("tiles").querySelectorAll(".tile");
  const to = buttons[Math.max(0, Math.min(index, buttons.length - 1))];
  if (!to) return;
  for (const each of buttons) each.tabIndex = each === to ? 0 : -1;
  to.focus();
}

function moveInGrid(command) {
  const buttons = [...at("tiles").querySelectorAll(".tile")];
  const now = buttons.indexOf(document.activeElement);
  if (now < 0) {
    focusTile(0);
    return;
  }
  const top = buttons[0].offsetTop;
  const columns = Math.max(1, buttons.filter((each) => each.offsetTop === top).length);
  focusTile(now + { left: -1, right: 1, up: -columns, down: columns }[command]);
}

// ------------------------------------------------------------------ commands
function widen(to) {
  wide = to;
  at("all").checked = to;
  showProgress();
}

function switchMode(to) {
  mode = to;
  at("to-single").setAttribute("aria-pressed", mode === "single");
  at("to-grid").setAttribute("aria-pressed", mode === "grid");
  document.body.classList.toggle("pairs-mode", mode === "grid");
  visible.clear();
  if (mode === "grid") {
    drawn = null;
    meanwhile(openPairs);
  } else goOn(0);
}

function carryOut(command) {
  if (command === "help") at("help").showModal();
  else if (command === "dismiss") trouble("refused", null);
  else if (command === "mode") switchMode(mode === "single" ? "grid" : "single");
  else if (command === "undo") undo();
  else if (mode === "grid") {
    if (command === "select") {
      const none = selected().length > 0;
      for (const item of tiles) none ? leftOut.add(item.place) : leftOut.delete(item.place);
      drawSelection();
    } else if (command === "toggle") toggle(document.activeElement?.dataset?.tile);
    else if (command === "pair-before") stepPair(-1);
    else if (command === "pair-after") stepPair(1);
    else if (command in { left: 0, right: 0, up: 0, down: 0 }) moveInGrid(command);
    else decideTogether(command);
  } else if (command === "back") go(Math.max(0, (place ?? end()) - 1));
  else if (command === "forward") {
    if (place !== null && place + 1 < end()) go(place + 1);
  } else if (command === "next") goOn((place ?? -1) + 1);
  else if (command === "search") openSearch();
  else if (command === "all") {
    widen(true);
    goOn(0);
  } else answer(command);
}

/** A key, or a press of a button, in its turn. */
function inTurn(work) {
  if (busy) keys.push(work);
  else work();
}

document.addEventListener("keydown", (pressed) => {
  if (!run || pressed.ctrlKey || pressed.metaKey || pressed.altKey || pressed.isComposing) return;
  if (at("help").open) return;
  const target = pressed.target;
  if (target === at("search")) {
    searchKey(pressed);
    return;
  }
  const presses = pressed.key === "Enter" || pressed.key === " ";
  if (presses && target.closest("button, input, a, label") && !target.closest(".tile")) return;
  const digit = mode === "single" && /^[1-9]$/.test(pressed.key) ? Number(pressed.key) : null;
  const key = pressed.key.length === 1 ? pressed.key.toLowerCase() : pressed.key;
  const command = (mode === "grid" ? GRID_COMMANDS : COMMANDS)[key];
  if (digit === null && command === undefined) return;
  pressed.preventDefault();
  if (pressed.repeat && !key.startsWith("Arrow")) return; // a key held down decides once
  inTurn(() => {
    if (digit === null) carryOut(command);
    else if (drawn && drawn.likely[digit - 1] !== undefined) choose(drawn.likely[digit - 1]);
  });
});

// some browsers press a button when Space is let go, whatever became of the key before
document.addEventListener("keyup", (pressed) => {
  if (pressed.key === " " && pressed.target.closest(".tile")) pressed.preventDefault();
});

document.addEventListener("click", (pressed) => {
  const target = pressed.target.closest("button, [role=option]");
  if (!target || !run) return;
  const { do: command, class: number, pair: index, tile } = target.dataset;
  if (tile !== undefined) {
    toggle(tile);
    focusTile(Number(tile));
  } else if (index !== undefined) inTurn(() => choosePair(Number(index)));
  else if (command !== undefined || number !== undefined) {
    // the focus leaves the button, or the next Enter would press it again
    if (target.closest("#single")) at("main").focus({ preventScroll: true });
    inTurn(() => (command !== undefined ? carryOut(command) : choose(Number(number))));
  }
});

at("to-single").addEventListener("click", () => mode === "single" || inTurn(() => carryOut("mode")));
at("to-grid").addEventListener("click", () => mode === "grid" || inTurn(() => carryOut("mode")));
at("to-help").addEventListener("click", () => carryOut("help"));
at("trouble-close").addEventListener("click", () => {
  trouble("refused", null);
  at("main").focus({ preventScroll: true });
});
at("all").addEventListener("change", () => inTurn(() => {
  widen(at("all").checked);
  at("main").focus({ preventScroll: true });
  if (mode === "single") goOn(place !== null && place < end() ? place : 0);
}));
at("search").addEventListener("input", fillSearch);
at("search").addEventListener("focus", fillSearch);
at("search").addEventListener("blur", () => { at("found").hidden = true; });
at("found").addEventListener("mousedown", (pressed) => pressed.preventDefault());
at("help").addEventListener("close", () => at("main").focus({ preventScroll: true }));
window.addEventListener("beforeunload", (leaving) => {
  if (outbox.length) leaving.preventDefault();
});
window.addEventListener("focus", refresh);
setInterval(() => { if (document.visibilityState === "visible") refresh(); }, POLL);

meanwhile(async () => {
  run = await ask("/api/run");
  event = run.event;
  document.title = `${run.run} – review`;
  at("run").textContent = run.run;
  at("run").title = run.path;
  at("how-many").textContent = count(run.classes.length);
  count_(run);
  if (run.start === null) finish();
  else await go(run.start);
  at("main").focus({ preventScroll: true });
});
