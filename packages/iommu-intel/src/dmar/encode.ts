import type { Field, Layout, Values } from "@iommu-lab/memory/layout";
import { bytesOf, decodeSdt, encodeSdt, halves, sdtChecksum } from "@iommu-lab/pci-bus/acpi";
import { ANDD, ATSR, DEVICE_SCOPE, DMAR_BODY, DRHD, RHSA, RMRR, SATC, SIDP } from "./layouts.ts";
import type { AddressInput, DmarInput, DmarOddities, DmarPathStep, DmarScopeInput, DmarStructureInput } from "./table.ts";

const join = (parts: readonly Uint8Array[]): Uint8Array => {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
};

/** A fixed part from its fields, with the reserved bits that were kept. */
const fixed = <F extends Readonly<Record<string, Field>>>(layout: Layout<F>, values: Partial<Values<F>>, reserved: Uint8Array | undefined): Uint8Array => {
  const bytes = bytesOf(layout.encode(values), layout.width);
  for (const [i, byte] of (reserved ?? []).entries()) if (i < bytes.length) bytes[i] = (bytes[i] as number) | byte;
  return bytes;
};

const encodeStep = (step: DmarPathStep): Uint8Array => {
  for (const value of [step.device, step.function]) if (!(Number.isInteger(value) && value >= 0 && value < 256)) throw new RangeError(`A path step of ${step.device}.${step.function} does not fit its two bytes.`);
  return Uint8Array.of(step.device, step.function);
};

const encodeScope = (scope: DmarScopeInput): Uint8Array => {
  const tail = join([...(scope.path ?? []).map(encodeStep), scope.rest ?? new Uint8Array()]);
  const length = DEVICE_SCOPE.width / 8 + tail.length;
  if (length > 255) throw new RangeError(`A device scope with ${scope.path?.length ?? 0} path steps has ${length} bytes; its length field holds 255.`);
  return join([fixed(DEVICE_SCOPE, { TYPE: scope.type, LENGTH: length, FLAGS: scope.flags ?? 0, ENUMERATION_ID: scope.enumerationId ?? 0, START_BUS: scope.startBus ?? 0 }, scope.reserved), tail]);
};

const encodeName = (name: string): Uint8Array =>
  Uint8Array.from(name, (character) => {
    const code = character.codePointAt(0) as number;
    if (code === 0 || code > 0xff) throw new RangeError(`The object name ${JSON.stringify(name)} has a character that is no single byte, or a zero.`);
    return code;
  });

/** Everything after the fixed part. */
const encodeTail = (structure: DmarStructureInput): Uint8Array => {
  if (structure.name === "raw") return structure.data;
  if (structure.name === "ANDD") return join([encodeName(structure.objectName), structure.rest ?? Uint8Array.of(0)]);
  const rest = structure.rest ?? new Uint8Array();
  return structure.name === "RHSA" ? rest : join([...(structure.scopes ?? []).map(encodeScope), rest]);
};

const at = (what: string, value: AddressInput, low: string, high: string): Record<string, number> => {
  const [first, second] = halves(what, value);
  return { [low]: first, [high]: second };
};

const encodeFixed = (s: DmarStructureInput, tailLength: number): Uint8Array => {
  const length = (layout: { readonly width: number }): { readonly LENGTH: number } => {
    const total = layout.width / 8 + tailLength;
    if (total > 0xffff) throw new RangeError(`A ${s.name} structure of ${total} bytes does not fit its 16-bit length.`);
    return { LENGTH: total };
  };
  switch (s.name) {
    case "DRHD":
      return fixed(DRHD, { TYPE: 0, ...length(DRHD), INCLUDE_PCI_ALL: s.includeAll ? 1 : 0, SIZE: s.size ?? 0, SEGMENT: s.segment ?? 0, ...at("The register base", s.registerBase, "BASE_LOW", "BASE_HIGH") }, s.reserved);
    case "RMRR":
      return fixed(RMRR, { TYPE: 1, ...length(RMRR), SEGMENT: s.segment ?? 0, ...at("The region's base", s.base, "BASE_LOW", "BASE_HIGH"), ...at("The region's limit", s.limit, "LIMIT_LOW", "LIMIT_HIGH") }, s.reserved);
    case "ATSR":
      return fixed(ATSR, { TYPE: 2, ...length(ATSR), ALL_PORTS: s.allPorts ? 1 : 0, SEGMENT: s.segment ?? 0 }, s.reserved);
    case "RHSA":
      return fixed(RHSA, { TYPE: 3, ...length(RHSA), PROXIMITY_DOMAIN: s.proximityDomain, ...at("The register base", s.registerBase, "BASE_LOW", "BASE_HIGH") }, s.reserved);
    case "ANDD":
      return fixed(ANDD, { TYPE: 4, ...length(ANDD), ACPI_DEVICE_NUMBER: s.deviceNumber }, s.reserved);
    case "SATC":
      return fixed(SATC, { TYPE: 5, ...length(SATC), ATC_REQUIRED: s.atcRequired ? 1 : 0, SEGMENT: s.segment ?? 0 }, s.reserved);
    case "SIDP":
      return fixed(SIDP, { TYPE: 6, ...length(SIDP), SEGMENT: s.segment ?? 0 }, s.reserved);
    case "raw": {
      const total = 4 + tailLength;
      if (total > 0xffff || !(Number.isInteger(s.type) && s.type >= 0 && s.type <= 0xffff)) throw new RangeError(`A structure of type ${s.type} with ${total} bytes does not fit its 16-bit type and length.`);
      return Uint8Array.of(s.type & 0xff, s.type >>> 8, total & 0xff, total >>> 8);
    }
  }
};

const encodeStructure = (structure: DmarStructureInput): Uint8Array => {
  const tail = encodeTail(structure);
  return join([encodeFixed(structure, tail.length), tail]);
};

/** Puts back how the header's texts were padded, where they still say the same. */
const restoreTexts = (table: Uint8Array, kept: Uint8Array): void => {
  const [now, then] = [decodeSdt(table).header, decodeSdt(kept).header];
  if (now.oemId === then.oemId) table.set(kept.subarray(10, 16), 10);
  if (now.oemTableId === then.oemTableId) table.set(kept.subarray(16, 24), 16);
  if (now.creatorId === then.creatorId) table.set(kept.subarray(28, 32), 28);
};

const finish = (table: Uint8Array, odd: DmarOddities): Uint8Array => {
  if (odd.header) restoreTexts(table, odd.header);
  if (odd.length !== undefined) new DataView(table.buffer).setUint32(4, odd.length, true);
  table[9] = odd.checksum ?? sdtChecksum(table);
  return odd.trailing ? join([table, odd.trailing]) : table;
};

/**
 * Makes a DMAR table; a decoded table gives its own bytes again. Structures keep the order they are given in
 * (VT-d §8.2 wants that of their types, with INCLUDE_PCI_ALL units last); lengths and the checksum are computed.
 * @throws RangeError when a value does not fit its field
 */
export const encodeDmar = (table: DmarInput): Uint8Array => {
  const { structures, odd = {}, hostAddressWidth = 39 } = table;
  const body = fixed(
    DMAR_BODY,
    { HAW: hostAddressWidth - 1, INTR_REMAP: (table.interruptRemapping ?? true) ? 1 : 0, X2APIC_OPT_OUT: table.x2apicOptOut ? 1 : 0, DMA_CTRL_PLATFORM_OPT_IN_FLAG: table.dmaControlOptIn ? 1 : 0 },
    odd.reserved,
  );
  return finish(encodeSdt("DMAR", join([body, ...structures.map(encodeStructure), odd.rest ?? new Uint8Array()]), table.header), odd);
};
