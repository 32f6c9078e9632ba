// Single numbers, large.

import { element, setText } from "./dom.js";

export class Tiles {
  constructor() {
    this.names = "";
    this.node = element("dl", { class: "tiles" });
  }

  // rows: [[name, value, note?]]
  show(rows) {
    const names = rows.map(([name]) => name).join("\n");
    if (names !== this.names) {
      this.names = names;
      this.node.replaceChildren(
        ...rows.map(([name]) => element("div", { class: "tile" }, element("dt", {}, name), element("dd", {}, element("b"), element("span", { class: "quiet" })))),
      );
    }
    rows.forEach(([, value, note], place) => {
      const [number, words] = this.node.children[place].lastElementChild.children;
      setText(number, value);
      setText(words, note ?? "");
    });
  }
}
