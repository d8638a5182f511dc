import { formatAddress, requesterId, type FunctionAddress } from "@iommu-lab/pci-bus";

/** One function that a tree drawing shows. */
export interface DrawnFunction {
  readonly address: FunctionAddress;
  readonly parent: FunctionAddress | undefined;
  /** The name behind it with -v. */
  readonly name: string | undefined;
}

/** A bus of the drawing; its number is undefined between a bridge (or the edge) and the buses that it is split into. */
interface Branch {
  readonly domain: number;
  readonly bus: number | undefined;
  readonly bridge: FunctionAddress | undefined;
}

const EDGE: Branch = { domain: 0, bus: undefined, bridge: undefined };
const NAMED_BUS = /\[([0-9a-f]{4,8}):([0-9a-f]{2})(?:-[0-9a-f]{2})?\]/iy;
const FUNCTION = /([01][0-9a-f])\.([0-7])/iy;
const SECONDARY_BUS = /-{1,8}\[([0-9a-f]{2})(?:-[0-9a-f]{2})?\]/iy;

const at = (pattern: RegExp, line: string, index: number): RegExpExecArray | null => {
  pattern.lastIndex = index;
  return pattern.exec(line);
};

/** Whether a line belongs to the drawing of `lspci -t`. */
export const isTreeLine = (line: string): boolean => /^[\s|]*(?:-[-+\\]*|[+\\]-+)\[[0-9a-f]{4,8}:[0-9a-f]{2}/i.test(line) || /^[\s|]*[+\\]-[0-9a-f]{2}\.[0-7]/i.test(line);

/** Follows one line from its first sign: "+" and "\" are remembered by column, because later lines hang below them. */
const followLine = (line: string, columns: Map<number, Branch>, found: DrawnFunction[]): void => {
  let index = line.search(/[-+\\]/);
  let branch = line[index] === "-" ? EDGE : columns.get(index) ?? (at(NAMED_BUS, line, line.indexOf("[", index)) ? EDGE : undefined);
  while (branch && index < line.length) {
    const sign = line[index];
    if (sign === "+" || sign === "\\") columns.set(index, branch);
    if (sign === "-" || sign === "+" || sign === "\\") {
      index++;
      continue;
    }
    const named = at(NAMED_BUS, line, index);
    if (named) {
      branch = { domain: Number.parseInt(named[1] ?? "", 16), bus: Number.parseInt(named[2] ?? "", 16), bridge: branch.bridge };
      index += named[0].length;
      continue;
    }
    const drawn = at(FUNCTION, line, index);
    if (!drawn || branch.bus === undefined) return;
    const address: FunctionAddress = { domain: branch.domain, requester: requesterId(branch.bus, Number.parseInt(drawn[1] ?? "", 16), Number(drawn[2])) };
    index += drawn[0].length;
    const below = at(SECONDARY_BUS, line, index);
    found.push({ address, parent: branch.bridge, name: below ? undefined : /^\s+(\S.*)$/.exec(line.slice(index))?.[1] });
    if (!below) return;
    branch = { domain: branch.domain, bus: Number.parseInt(below[1] ?? "", 16), bridge: address };
    index += below[0].length;
  }
};

/**
 * Reads the drawing of `lspci -t` (also -tv, -tvnn): each function with the bridge above it. A bridge with several
 * buses below it (virtual functions use them) is drawn with each of them named in full.
 */
export const parseTree = (lines: readonly string[]): DrawnFunction[] => {
  const columns = new Map<number, Branch>();
  const found: DrawnFunction[] = [];
  for (const line of lines) if (isTreeLine(line)) followLine(line, columns, found);
  return found;
};

/** Child to parent, both as address text, for functions that are below a bridge. */
export const parentsByTree = (functions: readonly DrawnFunction[]): ReadonlyMap<string, string> => new Map(functions.flatMap(({ address, parent }) => (parent ? [[formatAddress(address), formatAddress(parent)] as const] : [])));
