// Tables of data that change while somebody reads them: rows and cells stay the same elements, only texts change.

import { element, setText } from "./dom.js";

// columns: [{name, title, text(row), value(row)?, link(row)?, numeric?}]; `value` makes the column one to sort by.
export class Grid {
  constructor(caption, columns, { key, empty, sort = null, down = true }) {
    this.columns = columns;
    this.key = key;
    this.sort = sort;
    this.down = down;
    this.rows = [];
    this.lines = new Map();
    this.body = element("tbody");
    this.heads = columns.map((column) => this.head(column));
    const table = element("table", {}, element("caption", { class: "hidden-text" }, caption));
    table.append(element("thead", {}, element("tr", {}, ...this.heads)), this.body);
    this.scroll = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table);
    this.empty = element("p", { class: "quiet" }, empty);
    this.node = element("div", {}, this.scroll, this.empty);
    this.show([]);
  }

  head(column) {
    const properties = { scope: "col", class: column.numeric ? "numeric" : "" };
    if (!column.value) return element("th", properties, column.title);
    const onclick = () => {
      this.down = this.sort === column.name ? !this.down : Boolean(column.numeric);
      this.sort = column.name;
      this.show(this.rows);
    };
    return element("th", properties, element("button", { type: "button", class: "sort", onclick }, column.title));
  }

  show(rows) {
    this.rows = rows;
    this.scroll.hidden = rows.length === 0;
    this.empty.hidden = rows.length > 0;
    const wanted = this.sorted(rows).map((row) => this.line(row));
    const kept = new Set(wanted);
    for (const [key, line] of this.lines) {
      if (kept.has(line)) continue;
      line.remove();
      this.lines.delete(key);
    }
    wanted.forEach((line, place) => {
      if (this.body.children[place] !== line) this.body.insertBefore(line, this.body.children[place] ?? null);
    });
  }

  sorted(rows) {
    const column = this.columns.find((one) => one.name === this.sort);
    this.heads.forEach((head, place) => {
      if (!this.columns[place].value) return;
      head.setAttribute("aria-sort", this.columns[place] !== column ? "none" : this.down ? "descending" : "ascending");
    });
    if (!column) return rows;
    const sign = this.down ? -1 : 1;
    const order = (a, b) => (a < b ? -sign : a > b ? sign : 0);
    return [...rows].sort((a, b) => order(column.value(a), column.value(b)));
  }

  line(row) {
    const key = String(this.key(row));
    let line = this.lines.get(key);
    if (!line) {
      line = element("tr", {}, ...this.columns.map((column, place) => cell(column, place)));
      this.lines.set(key, line);
    }
    this.columns.forEach((column, place) => {
      const link = line.children[place].querySelector("a");
      if (link) link.setAttribute("href", column.link(row));
      setText(link ?? line.children[place], column.text(row));
      const mark = column.mark?.(row);
      if (mark !== undefined) line.children[place].className = `${column.numeric ? "numeric " : ""}${mark}`;
    });
    return line;
  }
}

function cell(column, place) {
  const properties = { class: column.numeric ? "numeric" : "", ...(place === 0 ? { scope: "row" } : {}) };
  return element(place === 0 ? "th" : "td", properties, column.link ? element("a", { href: "#/" }) : null);
}
