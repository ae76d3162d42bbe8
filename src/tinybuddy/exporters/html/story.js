/* The story on the page: a span for each token, added at the end and taken from it, so that a long
   story costs no more a token than a short one. */
import { make } from "./charts.js";
import { WORD, isKnown } from "./words.js";

const PARAGRAPH = 200; // tokens, after which a sentence begins another: all of one is laid out anew

export class Story {
  constructor(element) {
    this.element = element;
    this.words = null; // of the training text
    this.clear();
  }

  clear() {
    this.element.replaceChildren();
    this.tokens = [];
    this.spans = [];
    this.checked = 0; // tokens whose words are all marked
  }

  add(tokens, given = false) {
    const { element } = this;
    const follow = element.scrollHeight - element.scrollTop - element.clientHeight < 80;
    for (const token of tokens) {
      let paragraph = element.lastElementChild;
      const last = this.tokens.at(-1)?.text;
      const long = paragraph?.childElementCount > PARAGRAPH && /[.!?]["”]?$/.test(last);
      if (!paragraph || long || last.includes("\n")) {
        paragraph = make("p", token.text === "\n" ? "empty" : "");
        element.append(paragraph);
      }
      const span = document.createElement("span");
      span.textContent = token.text;
      span.dataset.index = this.tokens.length;
      span.className = given ? "given" : token.picked ? "chosen" : "";
      paragraph.append(span);
      this.tokens.push(token);
      this.spans.push(span);
    }
    this.mark(false);
    if (follow) element.scrollTop = element.scrollHeight;
  }

  back() {
    this.tokens.pop();
    const span = this.spans.pop();
    const paragraph = span.parentElement;
    span.remove();
    if (!paragraph.childElementCount) paragraph.remove();
    // The word that is now the last one is marked again, from the token that begins it.
    let from = Math.min(this.checked, this.tokens.length);
    do from--; while (from > 0 && /^($|[\p{L}'’])/u.test(this.tokens[from].text));
    this.checked = Math.max(0, from);
    for (let i = this.checked; i < this.spans.length; i++) this.spans[i].textContent = this.tokens[i].text;
    this.mark(false);
  }

  /** Marks words that the training text did not have, but not the last one before it has ended. */
  mark(ended) {
    if (!this.words) return;
    const starts = [];
    let text = "";
    for (let i = this.checked; i < this.tokens.length; i++) {
      starts.push(text.length);
      text += this.tokens[i].text;
    }
    const tokenAt = (place) => starts.findLastIndex((start) => start <= place);
    const first = this.checked;
    let next = this.tokens.length;
    for (const { 0: word, index } of text.matchAll(WORD)) {
      const end = index + word.length;
      if (!ended && /^['’]?$/.test(text.slice(end, end + 2))) { // it may go on
        next = first + tokenAt(index);
        break;
      }
      if (isKnown(word, this.words)) continue;
      for (let t = tokenAt(index); t <= tokenAt(end - 1); t++) underline(this.spans[first + t]);
    }
    this.checked = next;
  }

  get text() {
    return this.tokens.map((token) => token.text).join("");
  }
}

/** Marks a token, but not the spaces that it begins with. */
function underline(span) {
  const [, space, rest] = span.textContent.match(/^(\s*)(.*)$/s);
  span.replaceChildren(space, make("u", "", rest));
}
