"use strict";
// The page of the service. All text is put in as text, never as HTML.

const byId = (id) => document.getElementById(id);
const state = { about: null, answer: null, blind: null, mode: "search", judgments: {}, language: startLanguage() };

function startLanguage() {
  const kept = localStorage.getItem("language");
  return kept in WORDS ? kept : navigator.language.startsWith("ja") ? "ja" : "en";
}

function word(key, values = {}) {
  const text = WORDS[state.language][key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// --- the service -----------------------------------------------------------------------------------------------------

async function ask(path, body) {
  const token = sessionStorage.getItem("token");
  const headers = { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const options = body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error(word("failed"));
  }
  if (response.status === 401) {
    byId("token-form").hidden = false;
    throw new Error(word("needs_token"));
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error.message ?? answer.error);
  return answer;
}

function say(text, isError = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("error", isError);
}

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    say(error.message, true);
  }
}

// --- what stands on the page whatever is searched ---------------------------------------------------------------------

function showWords() {
  document.documentElement.lang = state.language;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  byId("language").textContent = word("language");
  if (state.about) showAbout();
}

function showAbout() {
  const { collection, models, systems, most_results: most } = state.about;
  const places = Object.values(models).join(" · ");
  byId("about").textContent = `${word("documents", { name: collection.name, count: collection.documents })} · ${places}`;
  const hasTwo = "compared" in models;
  for (const id of ["mode-search", "mode-blind", "compare-label"]) byId(id).hidden = !hasTwo;
  byId("count").max = most;
  const chosen = byId("reference").value;
  byId("reference").replaceChildren(...systems.map((system) => make("option", { value: system }, word(system))));
  if (systems.includes(chosen)) byId("reference").value = chosen;
}

async function loadAbout() {
  const isFirst = state.about === null;
  state.about = await ask("about");
  if (isFirst) byId("count").value = state.about.results;
  byId("token-form").hidden = true;
  showAbout();
}

function setMode(mode) {
  state.mode = mode;
  for (const name of ["search", "blind"]) byId(`mode-${name}`).setAttribute("aria-pressed", String(name === mode));
  byId("options").hidden = mode === "blind";
  byId("columns").replaceChildren();
  byId("vote").hidden = true;
  state.answer = state.blind = null;
  say("");
  byId("query").focus();
}

// --- search ----------------------------------------------------------------------------------------------------------

async function search() {
  const query = byId("query").value;
  if (!query.trim()) return;
  say(word("searching"));
  if (!state.about) await loadAbout();
  if (state.mode === "blind") return compareBlind(query);
  const start = performance.now();
  const compare = "compared" in state.about.models && byId("compare").checked;
  state.answer = await ask("search", { query, k: Number(byId("count").value), marks: true, compare });
  state.judgments = state.answer.judgments;
  showRankings();
  const isEmpty = state.answer.rankings.every((ranking) => ranking.hits.length === 0);
  say(isEmpty ? word("nothing") : word("found", { ms: Math.round(performance.now() - start) }));
}

function showRankings() {
  const { rankings, documents } = state.answer;
  const reference = rankings.find((ranking) => ranking.system === byId("reference").value);
  const ranks = new Map((reference?.hits ?? []).map((hit) => [hit.docid, hit.rank]));
  byId("columns").replaceChildren(
    ...rankings.map((ranking) => {
      const hits = ranking.hits.map((hit) =>
        hitCard(hit.docid, hit.rank, documents[hit.docid], [
          ranking === reference ? "" : movement(ranks.get(hit.docid), hit.rank),
          make("span", { title: "score" }, hit.score.toPrecision(4)),
          ...judgeButtons(hit.docid),
          ...(ranking.system === "late_interaction" ? [tokensButton(hit.docid, ranking.model)] : []),
        ]),
      );
      return column(word(ranking.system), `${ranking.model ?? ""} ${ranking.ms} ms`, hits);
    }),
  );
  showJudgments();
}

function column(title, about, hits) {
  const list = make("ol", {}, ...hits);
  return make("section", { class: "column", "aria-label": title }, make("h2", {}, title), make("p", { class: "model" }, about), list);
}

function hitCard(docid, rank, document_, parts) {
  const line = make("div", { class: "line" }, make("span", { class: "rank" }, String(rank)), ...parts.filter(Boolean));
  const text = make("p", { class: "text" }, ...marked(document_.text, document_.marks));
  const card = make("li", { class: "hit", tabindex: "0", title: docid }, line, text);
  card.dataset.docid = docid;
  return card;
}

// Offsets count characters of Unicode, of which a JavaScript string may have two units each.
function marked(text, marks) {
  const characters = Array.from(text);
  const parts = [];
  let at = 0;
  for (const [first, behind] of marks) {
    parts.push(characters.slice(at, first).join(""), make("mark", {}, characters.slice(first, behind).join("")));
    at = behind;
  }
  return [...parts, characters.slice(at).join("")];
}

function movement(before, now) {
  if (before === undefined) return make("span", { class: "up" }, word("fresh"));
  if (before === now) return make("span", {}, word("same"));
  const isUp = now < before;
  return make("span", { class: isUp ? "up" : "down" }, `${isUp ? "▲" : "▼"}${Math.abs(before - now)}`);
}

// --- judgments -------------------------------------------------------------------------------------------------------

function judgeButtons(docid) {
  return [[1, "👍", "good"], [0, "👎", "bad"]].map(([relevance, sign, key]) => {
    const button = make("button", { type: "button", "aria-label": word(key), title: word(key) }, sign);
    button.dataset.relevance = relevance;
    button.addEventListener("click", () => attempt(() => judge(docid, relevance)));
    return button;
  });
}

async function judge(docid, relevance) {
  const isTakenBack = state.judgments[docid] === relevance;
  const given = isTakenBack ? null : relevance;
  await ask("judgments", { query: state.answer.query, docid, relevance: given });
  if (isTakenBack) delete state.judgments[docid];
  else state.judgments[docid] = relevance;
  showJudgments();
}

function showJudgments() {
  for (const card of document.querySelectorAll(".hit")) {
    for (const button of card.querySelectorAll("[data-relevance]")) {
      const isChosen = state.judgments[card.dataset.docid] === Number(button.dataset.relevance);
      button.setAttribute("aria-pressed", String(isChosen));
    }
  }
}

// --- tokens ----------------------------------------------------------------------------------------------------------

function tokensButton(docid, model) {
  const button = make("button", { type: "button", class: "tokens" }, word("tokens"));
  button.addEventListener("click", () => attempt(() => showTokens(button.closest(".hit"), docid, model)));
  return button;
}

async function showTokens(card, docid, model) {
  const shown = card.querySelector(".heat");
  if (shown) return shown.remove();
  const found = await ask("similarities", { query: state.answer.query, docid, model });
  const tokens = found.document.map((token) => make("span", { class: "token" }, token));
  const asked = make("div", { class: "asked" });
  const heat = make("div", { class: "heat" }, asked, make("div", {}, ...tokens));
  const choices = [null, ...found.query.keys()];
  asked.append(
    ...choices.map((row) => {
      const label = row === null ? word("all") : found.query[row].trim() || "␣";
      return make("button", { type: "button", onclick: (event) => paint(found, tokens, row, event.target) }, label);
    }),
  );
  card.append(heat);
  paint(found, tokens, null, asked.firstChild);
}

// The strength of a colour is the similarity; the token that MaxSim takes for a token of the query has a frame.
function paint({ similarities }, tokens, row, button) {
  for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
  const rows = row === null ? similarities : [similarities[row]];
  const best = new Set(rows.map((values) => values.indexOf(Math.max(...values))));
  const strengths = tokens.map((_, column) => Math.max(...rows.map((values) => values[column])));
  const [low, high] = [Math.min(...strengths), Math.max(...strengths)];
  tokens.forEach((token, column) => {
    const share = high > low ? (strengths[column] - low) / (high - low) : 0;
    token.style.backgroundColor = `rgba(var(--heat), ${(0.7 * share).toFixed(3)})`;
    token.title = strengths[column].toFixed(3);
    token.classList.toggle("best", best.has(column));
  });
}

// --- blind comparison ------------------------------------------------------------------------------------------------

async function compareBlind(query) {
  state.blind = await ask("blind", { query });
  const { documents } = state.blind;
  const sides = ["left", "right"].map((side) => {
    const cards = state.blind[side].map((docid, index) => hitCard(docid, index + 1, documents[docid], []));
    return column(word(`side_${side}`), "", cards);
  });
  byId("columns").replaceChildren(...sides);
  byId("vote").hidden = false;
  say("");
}

async function vote(choice) {
  if (!state.blind) return;
  const id = state.blind.id;
  state.blind = null;
  const { left, right, wins, ties, p } = await ask("blind/vote", { id, choice });
  byId("vote").hidden = true;
  byId("columns").querySelectorAll(".model").forEach((place, index) => (place.textContent = [left, right][index]));
  const told = Object.entries(wins).map(([model, count]) => word("won", { model, count }));
  say(word("voted", { left, right, wins: told.join(state.language === "ja" ? "、" : ", "), ties, p: p.toPrecision(3) }));
  byId("query").focus();
}

// --- keys ------------------------------------------------------------------------------------------------------------

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const isTyping = event.target.matches("input, select");
  if (event.key === "Escape" && isTyping) return event.target.blur();
  if (isTyping) return event.key === "ArrowDown" && event.target.id === "query" ? take(event, () => focusHit(0, 0)) : undefined;
  if (event.key === "/") return take(event, () => byId("query").focus());
  const choice = { 1: "left", 0: "tie", 2: "right" }[event.key];
  if (choice && state.blind) return take(event, () => attempt(() => vote(choice)));
  const card = event.target.closest(".hit");
  if (!card) return event.key === "ArrowDown" ? take(event, () => focusHit(0, 0)) : undefined;
  const column_ = [...byId("columns").children].indexOf(card.closest(".column"));
  const row = [...card.parentElement.children].indexOf(card);
  const moves = { ArrowDown: [0, 1], ArrowUp: [0, -1], ArrowRight: [1, 0], ArrowLeft: [-1, 0] };
  if (event.key in moves) {
    const [right, down] = moves[event.key];
    return take(event, () => focusHit(column_ + right, row + down));
  }
  const relevance = { "+": 1, "-": 0 }[event.key];
  if (relevance !== undefined && state.answer) return take(event, () => attempt(() => judge(card.dataset.docid, relevance)));
  if (event.key === "t") card.querySelector(".tokens")?.click();
}

function take(event, work) {
  event.preventDefault();
  work();
}

function focusHit(columnNumber, row) {
  const cards = byId("columns").children[columnNumber]?.querySelectorAll(".hit") ?? [];
  cards[Math.max(0, Math.min(row, cards.length - 1))]?.focus();
}

// --- start -----------------------------------------------------------------------------------------------------------

byId("form").addEventListener("submit", (event) => take(event, () => attempt(search)));
byId("token-form").addEventListener("submit", (event) =>
  take(event, () => {
    sessionStorage.setItem("token", byId("token").value);
    attempt(async () => {
      await loadAbout();
      say("");
    });
  }),
);
byId("reference").addEventListener("change", () => state.answer && showRankings());
byId("language").addEventListener("click", () => {
  state.language = state.language === "ja" ? "en" : "ja";
  localStorage.setItem("language", state.language);
  showWords();
  if (state.answer) showRankings();
});
for (const mode of ["search", "blind"]) byId(`mode-${mode}`).addEventListener("click", () => setMode(mode));
for (const button of document.querySelectorAll("[data-choice]")) {
  button.addEventListener("click", () => attempt(() => vote(button.dataset.choice)));
}
document.addEventListener("keydown", onKey);
showWords();
attempt(loadAbout);
