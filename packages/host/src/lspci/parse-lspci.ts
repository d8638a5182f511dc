import { formatAddress, parseAddress } from "@iommu-lab/pci-bus";
import { cleanText } from "./clean-text.ts";
import type { LspciFunction, LspciHost } from "./lspci-function.ts";
import { parseFunction } from "./parse-function.ts";
import { showsFunction, splitText, type HostDraft } from "./split-text.ts";
import { parentsByTree } from "./tree-drawing.ts";

/** What a text says besides functions: it counts for every machine in it. */
type Surroundings = Pick<LspciHost, "commandLine" | "kernelRelease" | "dmesg">;

const surroundingsOf = (text: string): Surroundings => ({
  commandLine: /(?:^|\n)[^\n]*(?:Command line: |\bBOOT_IMAGE=)[^\n]*/.exec(text)?.[0].replace(/^.*?(?:Command line: |(?=BOOT_IMAGE=))/s, "").trim(),
  kernelRelease: /Linux version (\d+\.\d+\S*)/.exec(text)?.[1] ?? /^Linux \S+ (\d+\.\d+\.\S+)/m.exec(text)?.[1],
  dmesg: /\bDMAR|AMD-Vi|\biommu\b|\bpci 0000:/.test(text) ? text : undefined,
});

/** The functions of a machine: those printed first, then those that only a listing or a drawing shows. */
const functionsOf = (draft: HostDraft): LspciFunction[] => {
  const verbose = draft.drafts.some(({ lines }) => lines.some((line) => /^\s*Capabilities:/.test(line)));
  const functions = new Map(draft.drafts.map((f) => [formatAddress(f.address), parseFunction(f, verbose)]));
  const add = (text: string, make: () => LspciFunction): void => {
    if (!functions.has(text)) functions.set(text, make());
  };
  for (const f of [...draft.listed.values(), ...draft.records]) add(formatAddress(f.address), () => parseFunction(f, false));
  for (const { address, name } of draft.tree) add(formatAddress(address), () => ({ ...parseFunction({ address, title: name ?? "", lines: [] }, false), name }));
  for (const text of draft.groupListing.keys()) {
    const address = parseAddress(text);
    if (address) add(text, () => parseFunction({ address, title: "", lines: [] }, false));
  }
  return [...functions.values()];
};

const toHost = (draft: HostDraft, surroundings: Surroundings, cut: boolean): LspciHost => {
  const functions = functionsOf(draft);
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
    ...surroundings,
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

/** Whether a text shows PCI functions as lspci does. */
export const looksLikeLspci = (text: string): boolean => cleanText(text.slice(0, 2_000_000)).some(showsFunction);

/**
 * Reads what people paste of lspci: any mix of -v levels, -nn, -n, -k, -x, -t and -vmm, quoted, wrapped or cut,
 * several machines in one text. Never throws; a text without functions gives no hosts.
 */
export const parseLspci = (text: string): LspciHost[] => {
  const lines = cleanText(text);
  const drafts = splitText(lines);
  const surroundings = surroundingsOf(lines.join("\n"));
  const cut = !text.endsWith("\n");
  return drafts.map((draft, i) => toHost(draft, surroundings, cut && i === drafts.length - 1));
};
