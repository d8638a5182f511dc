import { DEVICE_SCOPE, decodeDmar, DmarError, DMAR_BODY, STRUCTURES, structureName, type DmarStructure } from "@iommu-lab/iommu-intel/dmar";
import { decodeIvrs, ENTRY_ACPI, ENTRY_ALIAS, ENTRY_ALL, ENTRY_EXTENDED, ENTRY_RANGE_END, ENTRY_SELECT, ENTRY_SPECIAL, IVHD_10, IVHD_11, IVHD_40, IVMD, IVRS_BODY, IvrsError, type IvhdEntry, type IvrsStructure } from "@iommu-lab/iommu-amd/ivrs";
import { decodeMcfg, decodeSdt, SDT_HEADER_SIZE } from "@iommu-lab/pci-bus/acpi";
import type { Field } from "@iommu-lab/memory/layout";
import { bytesNode, headingNode, layoutNodes, type FieldNode } from "./fields.ts";

/** Something noticed, with its place. */
export interface Noticed {
  readonly id: string;
  readonly offset: number;
  readonly text: string;
  readonly severity?: string;
}
export interface TableFields {
  readonly nodes: readonly FieldNode[];
  readonly noticed: readonly Noticed[];
}

const headerNodes = (): FieldNode[] => [
  headingNode("Header", 0, SDT_HEADER_SIZE, "ACPI §5.2.6 System Description Table Header.", 0),
  bytesNode("Signature", 0, 4, "What the table is.", 1, { ascii: true }),
  bytesNode("Length", 4, 4, "Bytes of the whole table.", 1),
  bytesNode("Revision", 8, 1, "Revision of the table's format.", 1),
  bytesNode("Checksum", 9, 1, "All bytes add up to zero modulo 256.", 1),
  bytesNode("OEMID", 10, 6, "Who made it.", 1, { ascii: true }),
  bytesNode("OEM Table ID", 16, 8, "The maker's name of it.", 1, { ascii: true }),
  bytesNode("OEM Revision", 24, 4, "The maker's revision.", 1),
  bytesNode("Creator ID", 28, 4, "The tool that wrote it.", 1, { ascii: true }),
  bytesNode("Creator Revision", 32, 4, "The tool's revision.", 1),
];

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

const dmarText = (each: DmarStructure): string => {
  switch (each.name) {
    case "DRHD": return `Unit at ${hex(each.registerBase)}, segment ${each.segment}${each.includeAll ? ", all that no other unit names" : ""}.`;
    case "RMRR": return `${hex(each.base)} to ${hex(each.limit)} is kept one to one.`;
    case "ANDD": return each.objectName;
    default: return "";
  }
};

const dmarNodes = (bytes: Uint8Array): TableFields => {
  const { structures, diagnoses } = decodeDmar(bytes);
  return {
    nodes: [
      ...layoutNodes(bytes, DMAR_BODY, SDT_HEADER_SIZE, 0),
      ...structures.flatMap((each) => {
        const layout = STRUCTURES[each.type];
        return [
          headingNode(structureName(each.type), each.offset, each.length, dmarText(each), 0),
          ...(layout ? layoutNodes(bytes, layout, each.offset, 1) : []),
          ...("scopes" in each
            ? each.scopes.flatMap((scope) => [
                headingNode("Device Scope", scope.offset, 6 + 2 * scope.path.length, "", 1),
                ...layoutNodes(bytes, DEVICE_SCOPE, scope.offset, 2),
                ...scope.path.flatMap((_, i) => [bytesNode("Device", scope.offset + 6 + 2 * i, 1, "Device number of this step.", 2), bytesNode("Function", scope.offset + 7 + 2 * i, 1, "Function number of this step.", 2)]),
              ])
            : []),
        ];
      }),
    ],
    noticed: diagnoses,
  };
};

const ENTRY_LAYOUTS: Readonly<Record<string, { readonly fields: Readonly<Record<string, Field>> }>> = { all: ENTRY_ALL, select: ENTRY_SELECT, "range-start": ENTRY_SELECT, "range-end": ENTRY_RANGE_END, "alias-select": ENTRY_ALIAS, "alias-range-start": ENTRY_ALIAS, "extended-select": ENTRY_EXTENDED, "extended-range-start": ENTRY_EXTENDED, special: ENTRY_SPECIAL, "acpi-device": ENTRY_ACPI };

const entryNodes = (bytes: Uint8Array, entry: IvhdEntry): FieldNode[] => [headingNode(`entry ${entry.name}`, entry.offset, entry.length, "", 1), ...layoutNodes(bytes, ENTRY_LAYOUTS[entry.name] ?? { fields: {} }, entry.offset, 2)];

const blockNodes = (bytes: Uint8Array, each: IvrsStructure): FieldNode[] => {
  const layout = each.name === "IVHD" ? (each.type === 0x10 ? IVHD_10 : each.type === 0x11 ? IVHD_11 : IVHD_40) : each.name === "IVMD" ? IVMD : { fields: {} };
  const text = each.name === "IVHD" ? `IOMMU at ${hex(each.registerBase)}, segment ${each.segment}.` : each.name === "IVMD" ? `${hex(each.size)} bytes from ${hex(each.start)}.` : "";
  return [headingNode(`${each.name} ${each.type.toString(16)}h`, each.offset, each.length, text, 0), ...layoutNodes(bytes, layout, each.offset, 1), ...(each.name === "IVHD" ? each.entries.flatMap((entry) => entryNodes(bytes, entry)) : [])];
};

const ivrsNodes = (bytes: Uint8Array): TableFields => {
  const { structures, diagnoses } = decodeIvrs(bytes);
  return { nodes: [...layoutNodes(bytes, IVRS_BODY, SDT_HEADER_SIZE, 0), ...structures.flatMap((each) => blockNodes(bytes, each))], noticed: diagnoses };
};

const MCFG_ENTRY = 16;
const mcfgNodes = (bytes: Uint8Array): TableFields => {
  const nodes: FieldNode[] = [];
  for (let at = SDT_HEADER_SIZE + 8; at + MCFG_ENTRY <= bytes.length && nodes.length < 5_000; at += MCFG_ENTRY)
    nodes.push(headingNode("ECAM allocation", at, MCFG_ENTRY, "", 0), bytesNode("Base Address", at, 8, "Address of bus 0 of the segment.", 1), bytesNode("Segment", at + 8, 2, "PCI segment group.", 1), bytesNode("Start Bus", at + 10, 1, "First bus.", 1), bytesNode("End Bus", at + 11, 1, "Last bus.", 1));
  return { nodes, noticed: decodeMcfg(bytes).problems.map(({ kind, offset, text }) => ({ id: `table-${kind}`, offset, text })) };
};

const contents = (signature: string, bytes: Uint8Array): TableFields => {
  try {
    if (signature === "DMAR") return dmarNodes(bytes);
    if (signature === "IVRS") return ivrsNodes(bytes);
  } catch (error) {
    if (!(error instanceof DmarError || error instanceof IvrsError)) throw error;
    return { nodes: [], noticed: [{ id: "table-unreadable", offset: 0, text: error.message }] };
  }
  return signature === "MCFG" ? mcfgNodes(bytes) : { nodes: [], noticed: decodeSdt(bytes).problems.map(({ kind, offset, text }) => ({ id: `table-${kind}`, offset, text })) };
};

/** Fields of an ACPI table: the header of any, the contents of those that are known. Never throws. */
export const tableFields = (signature: string, bytes: Uint8Array): TableFields => {
  const { nodes, noticed } = contents(signature, bytes);
  return { nodes: [...headerNodes().filter(({ lsb }) => lsb < 8 * bytes.length), ...nodes], noticed };
};
