import { describe, expect, test } from "vitest";
import * as masks from "../../src/vtd/entry-masks.ts";
import { IO_APIC_ENTRY_REMAPPABLE, IRTE_POSTED, IRTE_REMAPPED, IRTE_REMAPPED_XAPIC, POSTED_INTERRUPT_DESCRIPTOR, POSTED_INTERRUPT_DESCRIPTOR_XAPIC, REMAPPABLE_ADDRESS, REMAPPABLE_DATA } from "../../src/vtd/index.ts";

describe("masks of the remapping path against the layouts", () => {
  test.each([
    ["P", masks.PRESENT, IRTE_REMAPPED.encode({ P: 1 })[0]],
    ["FPD", masks.FAULT_PROCESSING_DISABLE, IRTE_REMAPPED.encode({ FPD: 1 })[0]],
    ["DM", masks.LOGICAL, IRTE_REMAPPED.encode({ DM: 1 })[0]],
    ["RH", masks.REDIRECTION_HINT, IRTE_REMAPPED.encode({ RH: 1 })[0]],
    ["TM", masks.LEVEL, IRTE_REMAPPED.encode({ TM: 1 })[0]],
    ["IM", masks.POSTED, IRTE_REMAPPED.encode({ IM: 1 })[0]],
    ["IM of a posted entry", masks.POSTED, IRTE_POSTED.encode({ IM: 1 })[0]],
    ["URG", masks.URGENT, IRTE_POSTED.encode({ URG: 1 })[0]],
    ["DLM", 7 << masks.DELIVERY_MODE_SHIFT, IRTE_REMAPPED.encode({ DLM: 7 })[0]],
    ["V", 0xff << masks.VECTOR_SHIFT, IRTE_REMAPPED.encode({ V: 0xff })[0]],
    ["VV", 0xff << masks.VECTOR_SHIFT, IRTE_POSTED.encode({ VV: 0xff })[0]],
    ["SQ", 3 << masks.QUALIFIER_SHIFT, IRTE_REMAPPED.encode({ SQ: 3 })[2]],
    ["SVT", 3 << masks.VALIDATION_SHIFT, IRTE_POSTED.encode({ SVT: 3 })[2]],
    ["PDAL", masks.DESCRIPTOR_ADDRESS_LOW, IRTE_POSTED.encode({ PDAL: 2 ** 26 - 1 })[1]],
    ["ON", masks.OUTSTANDING, POSTED_INTERRUPT_DESCRIPTOR.encode({ ON: 1 })[masks.CONTROL_WORD]],
    ["SN", masks.SUPPRESSED, POSTED_INTERRUPT_DESCRIPTOR.encode({ SN: 1 })[masks.CONTROL_WORD]],
    ["NV", 0xff << masks.NOTIFICATION_VECTOR_SHIFT, POSTED_INTERRUPT_DESCRIPTOR.encode({ NV: 0xff })[masks.CONTROL_WORD]],
    ["NDST", 0xffff_ffff, POSTED_INTERRUPT_DESCRIPTOR.encode({ NDST: 0xffff_ffff })[masks.DESTINATION_WORD]],
  ])("%s", (_, mask, word) => {
    expect(mask >>> 0).toBe(word);
  });

  test("reserved bits", () => {
    expect([masks.REMAPPED_RESERVED_0, 0, masks.RESERVED_2, masks.REMAPPED_RESERVED_3]).toEqual(IRTE_REMAPPED.reserved);
    expect([masks.REMAPPED_RESERVED_0, masks.REMAPPED_RESERVED_1_XAPIC, masks.RESERVED_2, masks.REMAPPED_RESERVED_3]).toEqual(IRTE_REMAPPED_XAPIC.reserved);
    expect([masks.POSTED_RESERVED_0, masks.POSTED_RESERVED_1, masks.RESERVED_2, 0]).toEqual(IRTE_POSTED.reserved);
    const rest = [0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff];
    expect([0, 0, 0, 0, 0, 0, 0, 0, masks.CONTROL_RESERVED, 0, ...rest]).toEqual(POSTED_INTERRUPT_DESCRIPTOR.reserved);
    expect([0, 0, 0, 0, 0, 0, 0, 0, masks.CONTROL_RESERVED, masks.DESTINATION_RESERVED_XAPIC, ...rest]).toEqual(POSTED_INTERRUPT_DESCRIPTOR_XAPIC.reserved);
  });
});

describe("layouts of interrupt requests (VT-d §5.1)", () => {
  test("the handle is split around the subhandle bit", () => {
    expect(REMAPPABLE_ADDRESS.decode(Uint32Array.of(0xfee1_235c))).toEqual({ DontCare: 0, HANDLE_15: 1, SHV: 1, Format: 1, HANDLE_14_0: 0x091a, Base: 0xfee });
    expect(REMAPPABLE_DATA.reserved).toEqual([0xffff_0000]);
  });
  test("an I/O APIC entry has the index where the destination was", () => {
    expect(IO_APIC_ENTRY_REMAPPABLE.encode({ V: 0x30, Format: 1, INDEX_14_0: 0x7fff, INDEX_15: 1 })).toEqual(Uint32Array.of(0x830, 0xffff_0000));
    expect(IO_APIC_ENTRY_REMAPPABLE.reserved).toEqual([0xfffe_0700, 0x0000_ffff]);
  });
});
