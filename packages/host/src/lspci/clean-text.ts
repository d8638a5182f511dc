import { matchGroupHeading, matchTitleLine } from "./title-line.ts";

/** Longest line that is looked at; vital-product-data garbage of tens of kilobytes stands on one line. */
const LONGEST_LINE = 4096;

const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'", nbsp: " ", "#39": "'", "#160": " " };

/** An equals sign as lspci prints it: quoted-printable has none. "subordinate=20" and "=09" are bus numbers. */
const BARE_EQUALS = /\b(?:DEVSEL|primary|secondary|subordinate|sec-latency|Count)=(?!3D(?:\w|=\n)|\n)/i;

/** Undoes quoted-printable where a text shows its marks: soft line breaks and =3D. */
const unquotePrintable = (text: string): string => {
  if (BARE_EQUALS.test(text) || !/=3D|=20|=A0|=C2=A0|=09/.test(text)) return text;
  return text.replace(/=\r?\n/g, "").replace(/=C2=A0|=A0|=20/g, " ").replace(/=09/g, "\t").replace(/=3D/g, "=");
};

/** Takes reply marks ("> > ") off the lines that carry them. */
const unquoteReply = (lines: readonly string[]): string[] => {
  const quoted = lines.filter((line) => line.startsWith(">")).length;
  if (quoted === 0) return [...lines];
  return lines.map((line) => (line.startsWith(">") ? line.replace(/^(?:> ?)+/, "") : line));
};

/** Undoes the indentation of a whole text, as forums ask for it around code: no title and no heading then stands at the edge. */
const dedent = (lines: readonly string[]): readonly string[] => {
  let depth = Infinity;
  for (const line of lines) {
    const bare = line.trimStart();
    if (matchTitleLine(bare) || matchGroupHeading(bare)) depth = Math.min(depth, line.length - bare.length);
  }
  return depth === 0 || depth === Infinity ? lines : lines.map((line) => (line.slice(0, depth).trim() === "" ? line.slice(depth) : line));
};

/** Error lines of pciutils' library land in the middle of words: "DLActpcilib: ...\nive-". */
const dropPcilib = (text: string): string => text.replace(/pcilib: [^\n]*(?:\n|$)/g, "");

/**
 * A pasted lspci text as lspci wrote it, as far as that can be undone: line ends, reply quoting,
 * quoted-printable, HTML entities, no-break spaces, code fences, library errors in between.
 */
export const cleanText = (text: string): string[] => {
  const plain = unquotePrintable(text.replace(/^\uFEFF/, "").replace(/\r\n?/g, "\n"))
    .replace(/&(lt|gt|amp|quot|apos|nbsp|#39|#160);/g, (whole, name: string) => ENTITIES[name] ?? whole)
    .replace(/\u00a0/g, " ");
  return dropPcilib(dedent(unquoteReply(plain.split("\n"))).join("\n"))
    .split("\n")
    .map((line) => (line.length > LONGEST_LINE ? line.slice(0, LONGEST_LINE) : line).trimEnd())
    .filter((line) => !/^(?:```|~~~)/.test(line));
};
