import { structureName, type DmarScope, type DmarStructure, type DmarTable } from "@iommu-lab/iommu-intel/dmar";
import type { Decoded, DecodedStructure } from "@iommu-lab/iommu-intel/decode";
import type { Mcfg } from "@iommu-lab/pci-bus/acpi";
import type { DecodedInput } from "@iommu-lab/host/decode";
import { ivrsJson } from "./decode-ivrs-json.ts";
import { hexBytes, plain } from "./decode-plain.ts";

const SCOPE_TYPES = [null, "pci-endpoint", "pci-sub-hierarchy", "ioapic", "hpet", "acpi-namespace-device"] as const;

const scopeJson = (scope: DmarScope): object => ({ ...plain(scope), typeName: SCOPE_TYPES[scope.type] ?? null });

const structureJson = (structure: DmarStructure): object => ({ ...plain(structure), name: structureName(structure.type), ...("scopes" in structure ? { scopes: structure.scopes.map(scopeJson) } : {}) });

const dmarJson = ({ header, structures, diagnoses, odd, hostAddressWidth, interruptRemapping, x2apicOptOut, dmaControlOptIn }: DmarTable): object => ({
  kind: "dmar",
  header: { ...header, hostAddressWidth, interruptRemapping, x2apicOptOut, dmaControlOptIn, ...(odd?.rest ? { unreadable: hexBytes(odd.rest) } : {}), ...(odd?.trailing ? { trailing: hexBytes(odd.trailing) } : {}) },
  structures: structures.map(structureJson),
  diagnoses,
});

const mcfgJson = ({ header, allocations, problems }: Mcfg): object => ({
  kind: "mcfg",
  header,
  structures: allocations.map(({ base, segment, firstBus, lastBus }) => ({ name: "ECAM allocation", base: BigInt(base), segment, firstBus, lastBus })),
  diagnoses: problems.map(({ kind, offset, text }) => ({ id: `table-${kind}`, offset, text })),
});

/** One structure: conclusions beside the fields, so that scripts need not know bit positions. */
const bitsJson = ({ name, offset, spec, value, fields, facts, meaning }: DecodedStructure): object => ({
  name,
  offset,
  ...facts,
  ...(spec === undefined ? {} : { spec }),
  ...(value === undefined ? {} : { value }),
  ...(fields.length === 0 ? {} : { fields: Object.fromEntries(fields.map((field) => [field.name, field.value])) }),
  ...(fields.some((field) => field.meaning !== undefined) ? { meanings: Object.fromEntries(fields.flatMap((field) => (field.meaning === undefined ? [] : [[field.name, field.meaning]]))) } : {}),
  ...(fields.some((field) => field.address !== undefined) ? { addresses: Object.fromEntries(fields.flatMap((field) => (field.address === undefined ? [] : [[field.name, field.address]]))) } : {}),
  ...(meaning.length === 0 ? {} : { meaning }),
});

const decodedJson = ({ kind, header, structures, diagnoses }: Decoded): object => ({ kind, header, structures: structures.map(bitsJson), diagnoses });

/** What `iommu decode --json` prints for one table, log or row of structures; bigints become hexadecimal strings. */
export const decodeJson = (input: DecodedInput): object => {
  switch (input.kind) {
    case "dmar":
      return dmarJson(input.dmar);
    case "ivrs":
      return ivrsJson(input.ivrs);
    case "mcfg":
      return mcfgJson(input.mcfg);
    case "bits":
      return decodedJson(input.decoded);
  }
};
