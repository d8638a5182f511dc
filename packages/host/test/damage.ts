/** What mail programs, forums and terminals do to a text on its way, none of which changes what it says. */
import fc from "fast-check";

export type Damage = (text: string) => string;

const everyLine = (change: (line: string) => string): Damage => (text) => text.split("\n").map((line, i, all) => (i === all.length - 1 && line === "" ? line : change(line))).join("\n");

/** Breaks lines at the last space before a column, as mail programs do: indentation is not repeated. */
export const wrapAt = (column: number): Damage => everyLine((line) => {
  const parts: string[] = [];
  let rest = line;
  while (rest.length > column) {
    const space = rest.lastIndexOf(" ", column);
    if (space < 40) break;
    parts.push(rest.slice(0, space));
    rest = rest.slice(space + 1);
  }
  return [...parts, rest].join("\n");
});

export const tabsTo = (width: number): Damage => (text) => text.replaceAll("\t", " ".repeat(width));
export const quoted = (mark: string): Damage => everyLine((line) => `${mark}${line}`.trimEnd());
export const entities: Damage = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
export const fenced: Damage = (text) => `\`\`\`text\n${text}\`\`\`\n`;
export const indented: Damage = everyLine((line) => (line === "" ? "" : `    ${line}`));
export const noBreakSpaces: Damage = everyLine((line) => line.replace(/^[ \t]+/, (space) => "\u00a0".repeat(space.length)));
export const carriageReturns: Damage = (text) => text.replaceAll("\n", "\r\n");
export const withProse: Damage = (text) => `Hello list,\n\nmy machine stopped booting. Here is what it has:\n\n$ sudo lspci -vvv -nn\n${text}\nAny help is welcome: thank you.\n-- \nA user\n`;

/** RFC 2045 §6.7: "=" and bytes past ASCII escaped, lines broken softly at 76. */
export const quotedPrintable: Damage = everyLine((line) => {
  const escaped = Array.from(line, (c) => (c === "=" ? "=3D" : c === "\u00a0" ? "=C2=A0" : c)).join("").replace(/[ \t]$/, "=20");
  const parts: string[] = [];
  let rest = escaped;
  while (rest.length > 75) {
    let at = 72;
    while (/=.?$/.test(rest.slice(0, at))) at--;
    parts.push(`${rest.slice(0, at)}=`);
    rest = rest.slice(at);
  }
  return [...parts, rest].join("\n");
});

const STRAY = ["pcilib: Error reading /sys/bus/pci/devices/0000:00:08.3/label: Operation not permitted\n", "pcilib: sysfs_read_vpd: read failed: No such device\n"] as const;

/** Error lines of pciutils' library at places given as fractions of the text. */
const strayErrors = (places: readonly number[]): Damage => (text) =>
  [...places].sort((a, b) => b - a).reduce((whole, place, i) => {
    const at = Math.floor(place * text.length);
    return whole.slice(0, at) + (STRAY[i % 2] ?? "") + whole.slice(at);
  }, text);

/** A kind of damage with its name, for counterexamples. */
interface Step {
  readonly name: string;
  readonly damage: Damage;
}

const none: Step = { name: "", damage: (text) => text };
const maybe = (name: string, damage: Damage): fc.Arbitrary<Step> => fc.constantFrom(none, { name, damage });

/** Several kinds one after the other, in the order in which they happen to a text. */
export const anyDamage: fc.Arbitrary<Damage> = fc
  .tuple(
    // Wrapping would break the error lines themselves, and what is lost then is really lost.
    fc.oneof(
      fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { maxLength: 4 }).map((places): Step => ({ name: `errors at ${places.join(" ")}`, damage: strayErrors(places) })),
      fc.integer({ min: 72, max: 100 }).map((column): Step => ({ name: `wrapped at ${column}`, damage: wrapAt(column) })),
    ),
    fc.constantFrom(none, ...[0, 1, 4, 8].map((width): Step => ({ name: `tabs to ${width}`, damage: tabsTo(width) }))),
    maybe("prose", withProse),
    fc.constantFrom(none, { name: "> ", damage: quoted("> ") }, { name: "> > ", damage: quoted("> > ") }, { name: ">>", damage: quoted(">>") }, { name: "indented", damage: indented }),
    maybe("no-break spaces", noBreakSpaces),
    maybe("entities", entities),
    maybe("fenced", fenced),
    maybe("quoted-printable", quotedPrintable),
    maybe("carriage returns", carriageReturns),
  )
  .map((steps) => Object.defineProperty((text: string) => steps.reduce((damaged, { damage }) => damage(damaged), text), fc.toStringMethod, { value: () => steps.map(({ name }) => name).filter(Boolean).join(", ") }));
