import { formatAddress, parseAddress } from "@iommu-lab/pci-bus";
import { isHexLine, isPropertyLine, type FunctionLines } from "./parse-function.ts";
import { isRecordStart, parseRecords } from "./records.ts";
import { matchGroupHeading, matchTitleLine } from "./title-line.ts";
import { isTreeLine, parseTree, type DrawnFunction } from "./tree-drawing.ts";

const CLASSLESS_TITLE = /^(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/i;
const GROUP_PATH = /iommu_groups\/(\d+)\/devices\/([0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7])/i;
const WRAPPED_TITLE_LINES = 3;

/** Whether a line shows a PCI function in any of the forms that are read. */
export const showsFunction = (line: string): boolean => matchTitleLine(line.trimStart()) !== null || isTreeLine(line) || isRecordStart(line) || GROUP_PATH.test(line);

interface Draft extends FunctionLines {
  title: string;
  readonly lines: string[];
  titleLines: number;
}

/** What is collected for one machine. */
export class HostDraft {
  readonly drafts: Draft[] = [];
  readonly seen = new Set<string>();
  /** From listings of the groups: address text to number, and the titles that stand in them. */
  readonly groupListing = new Map<string, number>();
  readonly listed = new Map<string, Draft>();
  readonly records: FunctionLines[] = [];
  readonly tree: DrawnFunction[] = [];

  get empty(): boolean {
    return this.drafts.length + this.groupListing.size + this.records.length + this.tree.length === 0;
  }
}

/** A group of a listing whose members are being read. */
interface OpenGroup {
  readonly id: number;
  /** Whether the members seen so far are indented; a paste may have lost that. */
  indented: boolean | undefined;
}

/** Reads a text line by line into machines and functions. A repeated address starts a new machine. */
class Splitter {
  readonly hosts = [new HostDraft()];
  #open: Draft | undefined;
  #group: OpenGroup | undefined;
  #blank = false;
  readonly #treeLines: string[] = [];

  get #host(): HostDraft {
    return this.hosts[this.hosts.length - 1] as HostDraft;
  }

  line(line: string): void {
    if (line.trim() === "") {
      this.#blank = true;
      return;
    }
    this.#groupPath(line);
    const heading = matchGroupHeading(line);
    if (heading) this.#group = { id: Number(heading[1]), indented: undefined };
    const text = heading ? (heading[2] ?? "") : this.#group ? line.trim() : line;
    const title = matchTitleLine(text);
    const address = title ? parseAddress(title[1] ?? "") : undefined;
    if (this.#group && !heading && !this.#belongsToGroup(line, address !== undefined)) this.#group = undefined;
    if (address) this.#function({ address, title: title?.[2] ?? "", lines: [], titleLines: 1 }, heading !== null);
    else if (isTreeLine(line)) {
      this.#treeLines.push(line);
      this.#open = undefined;
    } else if (this.#open && !heading && !CLASSLESS_TITLE.test(line.trim())) this.#continue(this.#open, line);
    this.#blank = false;
  }

  end(): HostDraft[] {
    this.#host.tree.push(...parseTree(this.#treeLines));
    return this.hosts.filter((host) => !host.empty);
  }

  #groupPath(line: string): void {
    const path = GROUP_PATH.exec(line);
    const address = path && parseAddress(path[2] ?? "");
    if (address) this.#host.groupListing.set(formatAddress(address), Number(path[1]));
  }

  /** Members stand below their heading, all indented or none; -k and -v put property lines below a member. */
  #belongsToGroup(line: string, isMember: boolean): boolean {
    const group = this.#group as OpenGroup;
    const indented = /^\s/.test(line);
    if (!isMember) return this.#open !== undefined && isPropertyLine(line) && !(this.#blank && !indented);
    group.indented ??= indented;
    return group.indented === indented && (indented || !this.#blank);
  }

  #function(draft: Draft, oneLine: boolean): void {
    const text = formatAddress(draft.address);
    const group = this.#group;
    if (group ? this.#host.listed.has(text) : this.#host.seen.has(text)) this.hosts.push(new HostDraft());
    this.#open = draft;
    if (!group) {
      this.#host.seen.add(text);
      this.#host.drafts.push(draft);
      return;
    }
    this.#host.groupListing.set(text, group.id);
    this.#host.listed.set(text, draft);
    // "IOMMU Group 1 00:01.0 ...": nothing more follows below it.
    if (oneLine) this.#group = undefined;
  }

  #continue(open: Draft, line: string): void {
    const property = isPropertyLine(line) || isHexLine(line);
    if (this.#blank && !/^\s/.test(line) && !property) this.#open = undefined;
    else if (open.lines.length === 0 && !property && open.titleLines <= WRAPPED_TITLE_LINES) {
      open.title += ` ${line.trim()}`;
      open.titleLines++;
    } else open.lines.push(line);
  }
}

/** Machines from `lspci -vmm`; a repeated slot starts a new one. */
const splitRecords = (records: readonly FunctionLines[]): HostDraft[] => {
  const hosts: HostDraft[] = [];
  for (const record of records) {
    const text = formatAddress(record.address);
    const last = hosts.at(-1);
    const host = last && !last.seen.has(text) ? last : new HostDraft();
    if (host !== last) hosts.push(host);
    host.seen.add(text);
    host.records.push(record);
  }
  return hosts;
};

/** Splits the cleaned lines of a text into machines and functions. */
export const splitText = (lines: readonly string[]): HostDraft[] => {
  if (lines.some(isRecordStart)) return splitRecords(parseRecords(lines));
  const splitter = new Splitter();
  for (const line of lines) splitter.line(line);
  return splitter.end();
};
