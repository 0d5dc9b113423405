// A page of Markdown in pieces that a test can check. In: text. Out: headings, fenced blocks, tables, links.
// It knows just the Markdown that our own pages use.

export interface FencedBlock {
  readonly language: string;
  readonly text: string;
  /** The HTML comment in the line above. */
  readonly label: string;
}

export interface Table {
  /** The HTML comment in the line above. */
  readonly label: string;
  /** Cells without the header and the line below it. */
  readonly rows: readonly (readonly string[])[];
}

export interface Heading {
  readonly level: number;
  readonly text: string;
  /** What a link to it ends in, as GitHub makes it. */
  readonly anchor: string;
}

const COMMENT = /^<!-- (.+) -->$/;

export function fencedBlocks(page: string): FencedBlock[] {
  const blocks = page.matchAll(/^(?:<!-- (.+) -->\n)?```(\w*)\n([\s\S]*?)^```$/gm);
  return [...blocks].map(([, label = "", language = "", text = ""]) => ({ language, text, label }));
}

export function tables(page: string): Table[] {
  const lines = withoutBlocks(page).split("\n");
  const found: Table[] = [];
  for (let start = 0; start < lines.length; start++) {
    if (!lines[start]?.startsWith("|")) continue;
    let end = start;
    while (lines[end]?.startsWith("|")) end++;
    const label = COMMENT.exec(lines[start - 1] ?? "")?.[1] ?? "";
    found.push({ label, rows: lines.slice(start + 2, end).map(cells) });
    start = end;
  }
  return found;
}

export function headings(page: string): Heading[] {
  return [...withoutBlocks(page).matchAll(/^(#+) (.+)$/gm)].map(([, marks = "", text = ""]) => ({
    level: marks.length,
    text,
    anchor: text
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replace(/\s/g, "-"),
  }));
}

/** Targets of links, without those in code. */
export function links(page: string): string[] {
  const text = withoutBlocks(page).replace(/`[^`\n]*`/g, "");
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
}

/** What stands in backticks. */
export function codes(text: string): string[] {
  return [...text.matchAll(/`([^`\n]+)`/g)].map(([, code = ""]) => code);
}

function cells(row: string): string[] {
  return row
    .slice(1, row.lastIndexOf("|"))
    .split("|")
    .map((cell) => cell.trim());
}

function withoutBlocks(page: string): string {
  return page.replace(/^```[\s\S]*?^```$/gm, "");
}
