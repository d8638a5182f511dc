import { structureName, type DmarScope, type DmarStructure, type DmarTable } from "@iommu-lab/iommu-intel/dmar";
import type { Decoded, DecodedStructure, FieldValue } from "@iommu-lab/iommu-intel/decode";
import type { Mcfg } from "@iommu-lab/pci-bus/acpi";
import type { DecodedInput } from "@iommu-lab/host/decode";
import { ivrsText } from "./decode-ivrs-text.ts";
import { at, findingLines } from "./decode-lines.ts";
import { printable } from "./printable.ts";
import { style } from "./style.ts";

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
const two = (value: number): string => value.toString(16).padStart(2, "0");

const SCOPES = [undefined, "PCI endpoint", "PCI sub-hierarchy", "I/O APIC", "HPET", "ACPI device"] as const;

const scopeText = ({ type, enumerationId, startBus, path }: DmarScope): string => {
  const place = `${two(startBus)}:${path.map((step) => `${two(step.device)}.${step.function.toString(16)}`).join(" / ")}`;
  return `${SCOPES[type] ?? `scope type ${type}`}${type >= 3 ? ` ${enumerationId}` : ""} at ${place}`;
};

const structureText = (s: DmarStructure): string => {
  switch (s.name) {
    case "DRHD":
      return `remapping unit, registers at ${hex(s.registerBase)}${s.size ? ` (${2 ** s.size} pages)` : ""}, segment ${s.segment}${s.includeAll ? ", every function that no other unit names" : ""}`;
    case "RMRR":
      return `reserved memory ${hex(s.base)} to ${hex(s.limit)}, segment ${s.segment}`;
    case "ATSR":
      return `root ports with ATS, segment ${s.segment}${s.allPorts ? ": all" : ""}`;
    case "RHSA":
      return `unit at ${hex(s.registerBase)} is in proximity domain ${s.proximityDomain}`;
    case "ANDD":
      return `ACPI device ${s.deviceNumber}: ${printable(s.objectName)}`;
    case "SATC":
      return `SoC devices with translation caches, segment ${s.segment}${s.atcRequired ? ", ATS required" : ""}`;
    case "SIDP":
      return `SoC device properties, segment ${s.segment}`;
    case "raw":
      return `${s.data.length} bytes that are not understood`;
  }
};

const dmarText = ({ header, hostAddressWidth, interruptRemapping, x2apicOptOut, dmaControlOptIn, structures, diagnoses, odd }: DmarTable): string =>
  [
    style("bold", `DMAR table, revision ${header.revision}, ${header.length} bytes, from ${printable(header.oemId)} ${printable(header.oemTableId)}`),
    `host address width ${hostAddressWidth} bits; interrupt remapping ${interruptRemapping ? "yes" : "no"}; x2APIC opt-out ${x2apicOptOut ? "yes" : "no"}; DMA protection opt-in ${dmaControlOptIn ? "yes" : "no"}`,
    ...structures.flatMap((s) => [`${at(s.offset)} ${style("bold", structureName(s.type).padEnd(4))} ${structureText(s)}`, ...("scopes" in s ? s.scopes.map((scope) => `${" ".repeat(13)}${scopeText(scope)}`) : [])]),
    ...(odd?.rest ? [`${odd.rest.length} bytes after the last structure could not be read.`] : []),
    ...findingLines(diagnoses),
  ].join("\n");

const mcfgText = ({ header, allocations, problems }: Mcfg): string =>
  [
    style("bold", `MCFG table, revision ${header.revision}, ${header.length} bytes, from ${printable(header.oemId)} ${printable(header.oemTableId)}`),
    ...allocations.map(({ base, segment, firstBus, lastBus }) => `segment ${segment}, buses ${two(firstBus)} to ${two(lastBus)}: configuration space at ${hex(base)}`),
    ...findingLines(problems.map(({ kind, offset, text }) => ({ id: `table-${kind}`, offset, text }))),
  ].join("\n");

const fieldText = ({ name, msb, lsb, value, text, meaning, address }: FieldValue): string => {
  const bits = msb === lsb ? String(msb) : `${msb}:${lsb}`;
  const shown = address === undefined ? (typeof value === "number" && value < 10 ? String(value) : hex(value)) : `${hex(value)} (${hex(address)})`;
  return `  ${bits.padStart(7)}  ${name.padEnd(12)} ${shown.padEnd(10)} ${meaning === undefined ? "" : `${meaning} – `}${style("dim", text)}`;
};

/** Facts that the sentences do not hold, of lines without bits. */
const structureBlock = (s: DecodedStructure, withFields: boolean): string[] => {
  const requester = typeof s.facts.requester === "string" && s.fields.length > 0 ? ` of ${s.facts.requester}` : "";
  const index = typeof s.facts.index === "number" ? ` ${s.facts.index}` : "";
  const title = `${at(s.offset)} ${style("bold", printable(s.name))}${index}${printable(requester)}${s.value === undefined ? "" : ` ${hex(s.value)}`}`;
  return [title, ...s.meaning.map((sentence) => `        ${printable(sentence)}`), ...(withFields ? s.fields.map(fieldText) : [])];
};

/** Structures that are shown with every field; of longer inputs only the meaning. */
const WITH_FIELDS = 16;

const decodedText = ({ structures, diagnoses }: Decoded): string => {
  const withFields = structures.filter(({ fields }) => fields.length > 0).length <= WITH_FIELDS;
  return [...structures.flatMap((s) => structureBlock(s, withFields)), ...(structures.length === 0 ? ["nothing in it: all entries are empty"] : []), ...findingLines(diagnoses)].join("\n");
};

/** What `iommu decode` prints for one table, log or row of structures. */
export const decodeText = (input: DecodedInput): string => {
  switch (input.kind) {
    case "dmar":
      return dmarText(input.dmar);
    case "ivrs":
      return ivrsText(input.ivrs);
    case "mcfg":
      return mcfgText(input.mcfg);
    case "bits":
      return decodedText(input.decoded);
  }
};
