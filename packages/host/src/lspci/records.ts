import { parseAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { FunctionLines } from "./parse-function.ts";

const FIELD = /^\s*(Slot|Class|Vendor|Device|SVendor|SDevice|Rev|ProgIf|Driver|Module|IOMMUGroup|NUMANode|PhySlot):\s+(\S.*)$/;

/** Whether a line is the first of a record of `lspci -vmm`. */
export const isRecordStart = (line: string): boolean => /^\s*Slot:\s+(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7]\s*$/i.test(line);

interface SlotRecord {
  readonly address: FunctionAddress;
  readonly fields: Map<string, string>;
}

/** A record as the title and property lines that lspci would print without -m. */
const toLines = ({ address, fields }: SlotRecord): FunctionLines => {
  const id = (name: string): string | undefined => /(?:^|\[)([0-9a-f]{4})\]?$/i.exec(fields.get(name) ?? "")?.[1];
  const name = (key: string): string => (fields.get(key) ?? "").replace(/ ?\[[0-9a-f]{4}\]$/i, "");
  const [vendor, device] = [id("Vendor"), id("Device")];
  const classId = id("Class");
  const title = [
    classId === undefined ? `${name("Class")}:` : `${name("Class")} [${classId}]:`,
    `${name("Vendor")} ${name("Device")}`,
    ...(vendor === undefined || device === undefined ? [] : [`[${vendor}:${device}]`]),
    ...(fields.has("Rev") ? [`(rev ${fields.get("Rev") ?? ""})`] : []),
    ...(fields.has("ProgIf") ? [`(prog-if ${fields.get("ProgIf") ?? ""})`] : []),
  ];
  const group = fields.get("IOMMUGroup");
  const driver = fields.get("Driver");
  return { address, title: title.join(" "), lines: [...(group === undefined ? [] : [`IOMMU group: ${group}`]), ...(driver === undefined ? [] : [`Kernel driver in use: ${driver}`])] };
};

/** Reads the records of `lspci -vmm`: "Slot:", "Class:", "IOMMUGroup:" and so on, one per line. */
export const parseRecords = (lines: readonly string[]): FunctionLines[] => {
  const found: SlotRecord[] = [];
  for (const line of lines) {
    const field = FIELD.exec(line);
    if (!field) continue;
    if (field[1] === "Slot") {
      const address = parseAddress((field[2] ?? "").trim());
      if (address) found.push({ address, fields: new Map() });
    } else found.at(-1)?.fields.set(field[1] ?? "", (field[2] ?? "").trim());
  }
  return found.map(toLines);
};
