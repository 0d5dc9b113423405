// Messages on the screen. In: what was said. Out: elements. Text goes in as text, never as markup.

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function frame(className, name, hue) {
  const article = element("article", className);
  const avatar = element("span", "avatar", [...name][0] ?? "?");
  if (hue !== undefined) avatar.classList.add(`hue-${hue}`);
  avatar.ariaHidden = "true";
  const body = element("div", "body");
  body.append(element("p", "name", name));
  article.append(avatar, body);
  return { article, body };
}

/** What a person wrote, pictures first. `onView` opens one of them. */
export function userMessage(user, text, pictures, words, onView) {
  const { article, body } = frame("message user", user.name, user.hue);
  if (pictures.length > 0) {
    const gallery = element("div", "gallery");
    for (const [index, { url }] of pictures.entries()) {
      const button = element("button", "picture");
      button.type = "button";
      button.ariaLabel = words.view(index + 1);
      const image = element("img");
      image.src = url;
      image.alt = "";
      button.append(image);
      button.addEventListener("click", () => onView(url));
      gallery.append(button);
    }
    body.append(gallery);
  }
  if (text !== "") body.append(element("div", "bubble", text));
  return article;
}

/** An answer while it is written. */
export class AnswerView {
  element;
  #words;
  #body;
  #bubble;
  #text = "";
  #reasoning;
  #startedAt = performance.now();
  #firstAt;

  constructor(words) {
    this.#words = words;
    const { article, body } = frame("message bot", words.bot);
    article.querySelector(".avatar").textContent = "V";
    this.element = article;
    this.#body = body;
    this.#bubble = element("div", "bubble waiting");
    this.#bubble.append(element("i"), element("i"), element("i"));
    body.append(this.#bubble);
  }

  addText(text) {
    this.#firstAt ??= performance.now();
    if (this.#text === "") {
      this.#bubble.classList.remove("waiting");
      this.#bubble.replaceChildren();
      if (this.#reasoning) this.#reasoning.parentElement.open = false;
    }
    this.#text += text;
    this.#bubble.append(text);
  }

  addReasoning(text) {
    this.#firstAt ??= performance.now();
    if (!this.#reasoning) {
      const details = element("details", "reasoning");
      details.open = true;
      details.append(element("summary", "", this.#words.thinking));
      this.#reasoning = element("div");
      details.append(this.#reasoning);
      this.#bubble.before(details);
    }
    this.#reasoning.append(text);
  }

  /** The last word: the whole answer, or none. */
  setReply(reply, shouldReply) {
    this.#settle();
    if (shouldReply === false || reply === "") {
      this.#bubble.classList.add("silent");
      this.#bubble.textContent = this.#words.silent;
    } else if (reply !== this.#text) {
      this.#bubble.textContent = reply;
    }
  }

  setError(code, message) {
    this.#settle();
    const error = element("div", "bubble error", message);
    if (code) error.append(" ", element("code", "", code));
    if (this.#text === "") this.#bubble.replaceWith(error);
    else this.#bubble.after(error);
  }

  setStopped() {
    this.#settle();
    const note = element("p", "facts", this.#words.stopped);
    if (this.#text === "") this.#bubble.replaceWith(note);
    else this.#bubble.after(note);
  }

  /** Times, tokens and cache hits under the answer. */
  setFacts({ finishReason, usage, timings, cache }) {
    const words = this.#words;
    const seconds = (ms) => (ms / 1000).toFixed(ms < 9_950 ? 2 : 1);
    const facts = [words.total(seconds(performance.now() - this.#startedAt))];
    if (this.#firstAt !== undefined)
      facts.push(words.first(seconds(this.#firstAt - this.#startedAt)));
    const perSecond = timings.decodeMs > 0 ? (usage.completionTokens * 1000) / timings.decodeMs : 0;
    facts.push(words.speed(usage.completionTokens, perSecond && Number(perSecond.toPrecision(3))));
    facts.push(words.prompt(usage.promptTokens, usage.imageTokens));
    const pictures = cache.imageHits + cache.imageMisses;
    if (pictures > 0) facts.push(words.cache(cache.imageHits, pictures));
    if (usage.droppedTurns > 0) facts.push(words.dropped(usage.droppedTurns));
    if (words.finish[finishReason]) facts.push(words.finish[finishReason]);

    const line = element("p", "facts");
    line.append(...facts.map((fact) => element("span", "", fact)));
    const stages = Object.entries(words.stages).filter(([key]) => timings[key] > 0);
    line.title = stages.map(([key, name]) => `${name} ${Math.round(timings[key])} ms`).join(" · ");
    this.#body.append(line);
  }

  #settle() {
    this.#bubble.classList.remove("waiting");
    if (this.#text === "") this.#bubble.replaceChildren();
  }
}
