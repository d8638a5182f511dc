import { formatAddress, parseAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import { cleanText } from "./clean-text.ts";
import type { LspciFunction, LspciHost } from "./lspci-function.ts";
import { isHexLine, isPropertyLine, parseFunction, type FunctionLines } from "./parse-function.ts";
import { isTreeLine, parentsByTree, parseTree, type DrawnFunction } from "./tree-drawing.ts";

const TITLE = /^((?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7])\s+(\S.*)$/i;
const CLASSLESS_TITLE = /^((?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7])$/i;
const GROUP_HEADING = /^\s*IOMMU Group (\d+)\s*:?\s*(.*)$/i;
const GROUP_PATH = /iommu_groups\/(\d+)\/devices\/((?:[0-9a-f]{4,8}):[0-9a-f]{2}:[01][0-9a-f]\.[0-7])/i;
const WRAPPED_TITLE_LINES = 3;

const isTitle = (line: string): RegExpExecArray | null => {
  const match = TITLE.exec(line);
  // The form is "class: name"; a log or a listing that starts with an address is not a title.
  return match && /[:\]]/.test(match[2] ?? "") && !/^\d+ |^->|^\//.test(match[2] ?? "") ? match : null;
};

interface Draft {
  readonly address: FunctionAddress;
  title: string;
  readonly lines: string[];
  titleLines: number;
}

/** What is collected for one machine. */
class HostDraft {
  readonly drafts: Draft[] = [];
  readonly seen = new Set<string>();
  readonly groupListing = new Map<string, number>();
  readonly listed: Draft[] = [];
  readonly tree: DrawnFunction[] = [];
}

/** Splits a text into machines and functions. A repeated address starts a new machine. */
const splitText = (lines: readonly string[]): HostDraft[] => {
  const hosts = [new HostDraft()];
  let host = hosts[0] as HostDraft;
  let open = undefined as Draft | undefined;
  let blank = false;
  let group: number | undefined;
  const treeLines: string[] = [];
  for (const line of lines) {
    if (line.trim() === "") {
      blank = true;
      continue;
    }
    const heading = GROUP_HEADING.exec(line);
    const path = GROUP_PATH.exec(line);
    if (path) {
      const address = parseAddress(path[2] ?? "");
      if (address) host.groupListing.set(formatAddress(address), Number(path[1]));
    }
    if (heading) group = Number(heading[1]);
    const title = isTitle(group === undefined ? line : (heading?.[2] ?? line).trim());
    const address = title && parseAddress(title[1] ?? "");
    if (group !== undefined && !heading && !(title && /^\s/.test(line))) group = undefined;
    if (address) {
      const draft: Draft = { address, title: title[2] ?? "", lines: [], titleLines: 1 };
      const text = formatAddress(address);
      if (group !== undefined) {
        host.groupListing.set(text, group);
        host.listed.push(draft);
        open = undefined;
      } else {
        if (host.seen.has(text)) {
          host = new HostDraft();
          hosts.push(host);
        }
        host.seen.add(text);
        host.drafts.push(draft);
        open = draft;
      }
    } else if (isTreeLine(line)) {
      treeLines.push(line);
      open = undefined;
    } else if (open && !CLASSLESS_TITLE.test(line.trim())) {
      if (blank && !/^\s/.test(line) && !isPropertyLine(line) && !isHexLine(line)) open = undefined;
      else if (open.lines.length === 0 && !isPropertyLine(line) && !isHexLine(line) && open.titleLines <= WRAPPED_TITLE_LINES) {
        open.title += ` ${line.trim()}`;
        open.titleLines++;
      } else open.lines.push(line);
    }
    blank = false;
  }
  host.tree.push(...parseTree(treeLines));
  return hosts;
};

const toHost = (draft: HostDraft, text: string, cut: boolean): LspciHost => {
  const verbose = draft.drafts.some(({ lines }) => lines.some((line) => /^\s*Capabilities:/.test(line)));
  const functions = [...draft.drafts, ...draft.listed.filter(({ address }) => !draft.seen.has(formatAddress(address)))].map((f: FunctionLines) => parseFunction(f, verbose));
  const known = new Set(functions.map((f) => formatAddress(f.address)));
  for (const { address, name } of draft.tree)
    if (!known.has(formatAddress(address))) functions.push({ ...parseFunction({ address, title: name ?? "", lines: [] }, false), name });
  const warnings: string[] = [];
  const last = functions[draft.drafts.length - 1];
  if (cut && last && last.driver === undefined && last.modules === undefined && last.config === undefined) {
    warnings.push(`The text may be cut inside ${formatAddress(last.address)}: its last line has no end. What that function has behind the cut is unknown.`);
    functions[draft.drafts.length - 1] = markCut(last);
  }
  warnings.push(...announcedBuses(functions));
  return {
    functions,
    tree: draft.tree.length > 0 ? parentsByTree(draft.tree) : undefined,
    groupListing: draft.groupListing.size > 0 ? draft.groupListing : undefined,
    commandLine: /(?:^|\n)[^\n]*(?:Command line: |\bBOOT_IMAGE=)[^\n]*/.exec(text)?.[0].replace(/^.*?(?:Command line: |(?=BOOT_IMAGE=))/s, "").trim(),
    kernelRelease: /Linux version (\d+\.\d+\S*)/.exec(text)?.[1] ?? /^Linux \S+ (\d+\.\d+\.\S+)/m.exec(text)?.[1],
    dmesg: /\bDMAR|AMD-Vi|\biommu\b|\bpci 0000:/.test(text) ? text : undefined,
    warnings,
  };
};

/** A function whose text is cut has shown some capabilities; the others are unknown, not absent. */
const markCut = (f: LspciFunction): LspciFunction => ({ ...f, capabilitiesShown: f.acs?.control !== undefined ? "yes" : "not-shown" });

/** Bridges that announce buses on which the text shows no function. */
const announcedBuses = (functions: readonly LspciFunction[]): string[] => {
  const populated = new Set(functions.map(({ address }) => `${address.domain}:${address.requester >> 8}`));
  const empty = functions.filter((f) => f.buses && f.buses.secondary > 0 && !populated.has(`${f.address.domain}:${f.buses.secondary}`));
  if (empty.length === 0) return [];
  const named = empty.slice(0, 4).map((f) => `bus ${(f.buses?.secondary ?? 0).toString(16).padStart(2, "0")} below ${formatAddress(f.address)}`);
  return [`No function is shown on ${named.join(", ")}${empty.length > 4 ? ` and ${empty.length - 4} more` : ""}: the slot is empty, or the text is cut.`];
};

/** Reads the records of `lspci -vmm`: "Slot:", "Class:", "IOMMUGroup:" and so on, one per line. */
const parseRecords = (lines: readonly string[]): FunctionLines[] => {
  const found: { address: FunctionAddress; title: string; lines: string[]; fields: Map<string, string> }[] = [];
  for (const line of lines) {
    const field = /^(Slot|Class|Vendor|Device|SVendor|SDevice|Rev|ProgIf|Driver|Module|IOMMUGroup|NUMANode|PhySlot):\s+(.*)$/.exec(line);
    if (!field) continue;
    if (field[1] === "Slot") {
      const address = parseAddress((field[2] ?? "").trim());
      if (address) found.push({ address, title: "", lines: [], fields: new Map() });
    } else found.at(-1)?.fields.set(field[1] ?? "", (field[2] ?? "").trim());
  }
  return found.map(({ address, fields }) => {
    const id = (name: string): string | undefined => /\[?([0-9a-f]{4})\]?$/i.exec(fields.get(name) ?? "")?.[1];
    const name = (key: string): string => (fields.get(key) ?? "").replace(/\s*\[[0-9a-f]{4}\]$/i, "");
    const ids = id("Vendor") !== undefined && id("Device") !== undefined ? ` [${id("Vendor") ?? ""}:${id("Device") ?? ""}]` : "";
    const group = fields.get("IOMMUGroup");
    const driver = fields.get("Driver");
    return {
      address,
      title: `${fields.get("Class") ?? ""}: ${name("Vendor")} ${name("Device")}${ids}${fields.has("Rev") ? ` (rev ${fields.get("Rev") ?? ""})` : ""}`,
      lines: [...(group === undefined ? [] : [`IOMMU group: ${group}`]), ...(driver === undefined ? [] : [`Kernel driver in use: ${driver}`])],
    };
  });
};

/** Whether a text shows PCI functions as lspci does. */
export const looksLikeLspci = (text: string): boolean => {
  const lines = cleanText(text.slice(0, 2_000_000));
  return lines.some((line) => isTitle(line.trim()) !== null || isTreeLine(line) || /^Slot:\s+\S+:\S+\.[0-7]/.test(line) || GROUP_PATH.test(line));
};

/**
 * Reads what people paste of lspci: any mix of -v levels, -nn, -n, -k, -x, -t and -vmm, quoted, wrapped or cut,
 * several machines in one text. Never throws; a text without functions gives no hosts.
 */
export const parseLspci = (text: string): LspciHost[] => {
  const lines = cleanText(text);
  const joined = lines.join("\n");
  const records = parseRecords(lines);
  if (records.length > 0) return [{ functions: records.map((f) => parseFunction(f, false)), warnings: [] }];
  const drafts = splitText(lines).filter((draft) => draft.drafts.length + draft.listed.length + draft.tree.length + draft.groupListing.size > 0);
  const cut = !text.endsWith("\n");
  return drafts.map((draft, i) => toHost(draft, joined, cut && i === drafts.length - 1));
};
