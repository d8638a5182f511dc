/**
 * Reads what `lspci -vvv -nn -xxxx` prints. Test side only, and strict: it knows the form of pciutils 3.9,
 * cuts the text into statements and leaves their meaning to the tables.
 */

/** A label with everything that belongs to it, continuation lines joined by spaces. */
type Statement = string;

export interface LspciCapability {
  readonly offset: number;
  /** Of extended ones: the number after the v. */
  readonly version: number | undefined;
  /** What stands after the bracket. */
  readonly heading: string;
  readonly statements: readonly Statement[];
}

export interface LspciFunction {
  readonly address: string;
  readonly title: string;
  /** Of the header: everything that is no capability. */
  readonly statements: readonly Statement[];
  readonly capabilities: readonly LspciCapability[];
  readonly bytes: Uint8Array;
}

const CAPABILITY = /^Capabilities: \[([0-9a-f]+)(?: v([0-9a-f]+))?\] ?(.*)$/;
const HEX = /^([0-9a-f]{2,3}): ((?:[0-9a-f]{2} ?)+)$/;
const depthOf = (line: string): number => /^\t*/.exec(line)![0].length;

interface Open {
  address: string;
  title: string;
  statements: string[];
  capabilities: { offset: number; version: number | undefined; heading: string; statements: string[] }[];
  bytes: number[];
}

/** A line continues the one before when it is indented deeper than labels are at this place: by tabs or by a space after them. */
const continues = (line: string, depth: number): boolean => depthOf(line) > depth || line.slice(depthOf(line)).startsWith(" ");

const addLine = (into: Open, line: string): void => {
  const text = line.trim().replaceAll(/\s+/g, " ");
  const capability = depthOf(line) === 1 ? CAPABILITY.exec(text) : null;
  if (capability) {
    into.capabilities.push({ offset: Number.parseInt(capability[1]!, 16), version: capability[2] === undefined ? undefined : Number.parseInt(capability[2], 16), heading: capability[3]!, statements: [] });
    return;
  }
  const last = into.capabilities.at(-1);
  const inCapability = last !== undefined && depthOf(line) > 1;
  const statements = inCapability ? last.statements : into.statements;
  const before = continues(line, inCapability ? 2 : 1) ? statements.pop() : undefined;
  statements.push(before === undefined ? text : `${before} ${text}`);
};

/** Lines that are left out are zero. */
const addBytes = (into: number[], at: number, text: string): void => {
  while (into.length < at) into.push(0);
  into.push(...text.trim().split(" ").map((each) => Number.parseInt(each, 16)));
};

/** Every function of one text, in its order. */
export const parseLspci = (text: string): LspciFunction[] => {
  const functions: Open[] = [];
  for (const line of text.split("\n")) {
    const title = /^((?:[0-9a-f]{4,}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) (.*)$/.exec(line);
    const open = functions.at(-1);
    const hex = HEX.exec(line.trimEnd());
    if (title) functions.push({ address: title[1]!, title: title[2]!, statements: [], capabilities: [], bytes: [] });
    else if (open && hex) addBytes(open.bytes, Number.parseInt(hex[1]!, 16), hex[2]!);
    else if (open && line.startsWith("\t")) addLine(open, line);
  }
  return functions.map((each) => ({ ...each, bytes: Uint8Array.from(each.bytes) }));
};
