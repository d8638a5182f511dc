import { formatAddress, requesterId, type FunctionAddress } from "@iommu-lab/pci-bus";

/** One function that a tree drawing shows. */
export interface DrawnFunction {
  readonly address: FunctionAddress;
  readonly parent: FunctionAddress | undefined;
  /** The name behind it with -v. */
  readonly name: string | undefined;
}

interface Branch {
  readonly domain: number;
  readonly bus: number;
  readonly bridge: FunctionAddress | undefined;
}

const ROOT = /^\s*[-+\\|\s]*-\[([0-9a-f]{4,8}):([0-9a-f]{2})(?:-[0-9a-f]{2})?\]-/i;

/** Whether a line belongs to the drawing of `lspci -t`. */
export const isTreeLine = (line: string): boolean => ROOT.test(line) || /^[\s|]*[+\\]-(?:[0-9a-f]{2}\.[0-7]|\[[0-9a-f]{4,8}:)/i.test(line);

/**
 * Reads the drawing of `lspci -t` (also -tv, -tvnn): each function with the bridge above it.
 * A branch is known by the column of its "+" or "\".
 */
export const parseTree = (lines: readonly string[]): DrawnFunction[] => {
  const columns = new Map<number, Branch>();
  const found: DrawnFunction[] = [];
  for (const line of lines) {
    if (!isTreeLine(line)) continue;
    let branch: Branch | undefined;
    let at: number;
    const root = /-\[([0-9a-f]{4,8}):([0-9a-f]{2})(?:-[0-9a-f]{2})?\]/i.exec(line);
    if (root && ROOT.test(line)) {
      branch = { domain: Number.parseInt(root[1] ?? "", 16), bus: Number.parseInt(root[2] ?? "", 16), bridge: undefined };
      at = root.index + root[0].length;
    } else {
      const start = /[+\\]-/.exec(line);
      branch = start ? columns.get(start.index) : undefined;
      at = start ? start.index : line.length;
    }
    while (branch && at < line.length) {
      const child = /^(-*)([+\\]?)-*([0-9a-f]{2})\.([0-7])/i.exec(line.slice(at));
      if (!child) break;
      if (child[2] === "+" || child[2] === "\\") columns.set(at + (child[1] ?? "").length, branch);
      const device = Number.parseInt(child[3] ?? "", 16);
      if (device > 31) break;
      const address: FunctionAddress = { domain: branch.domain, requester: requesterId(branch.bus, device, Number(child[4])) };
      at += child[0].length;
      const below: RegExpExecArray | null = /^-+\[([0-9a-f]{2})(?:-[0-9a-f]{2})?\]/i.exec(line.slice(at));
      found.push({ address, parent: branch.bridge, name: below ? undefined : /^\s+(\S.*)$/.exec(line.slice(at))?.[1] });
      if (!below) break;
      branch = { domain: branch.domain, bus: Number.parseInt(below[1] ?? "", 16), bridge: address };
      at += below[0].length;
    }
  }
  return found;
};

/** Child to parent, both as address text, for functions that are below a bridge. */
export const parentsByTree = (functions: readonly DrawnFunction[]): ReadonlyMap<string, string> => new Map(functions.flatMap(({ address, parent }) => (parent ? [[formatAddress(address), formatAddress(parent)] as const] : [])));
