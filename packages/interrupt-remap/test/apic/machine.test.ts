/** An I/O APIC, a VT-d remapper and local APICs, wired as in a machine. */
import { FlatMemory } from "@iommu-lab/memory";
import { describe, expect, test } from "vitest";
import { IoApicModel, LocalApicsModel } from "../../src/apic/index.ts";
import { IO_APIC_ENTRY_REMAPPABLE, IRTE_REMAPPED, newVtdInterruptVerdict, VtdInterruptRemapper } from "../../src/vtd/index.ts";

const machine = () => {
  const memory = new FlatMemory(0x1_0000);
  const settings = { enabled: true, tablePage: 3, entries: 256, extended: true, compatibility: false };
  const remapper = new VtdInterruptRemapper({ memory, settings, hostAddressWidth: 39, posting: false, caches: "adversarial", cachingMode: false });
  const verdict = newVtdInterruptVerdict();
  const apics: LocalApicsModel = new LocalApicsModel({ ids: [0, 300], mode: "x2apic", broadcastEndOfInterrupt: (vector) => { ioapic.endOfInterrupt(vector); } });
  const ioapic = new IoApicModel({ requester: 0xff00, send: (message) => { remapper.remap(message, apics, verdict); } });
  const writeEntry = (index: number, fields: Parameters<typeof IRTE_REMAPPED.encode>[0]): void => {
    IRTE_REMAPPED.encode(fields).forEach((word, i) => { memory.write32(0x3000 + 16 * index + 4 * i, word); });
  };
  const program = (pin: number, fields: Parameters<typeof IO_APIC_ENTRY_REMAPPABLE.encode>[0]): void => {
    const entry = IO_APIC_ENTRY_REMAPPABLE.encode(fields);
    for (const word of [1, 0]) {
      ioapic.registers.write(0, 4, 0x10 + 2 * pin + word);
      ioapic.registers.write(0x10, 4, entry[word] ?? 0);
    }
  };
  return { apics, ioapic, remapper, verdict, writeEntry, program };
};

describe("a level-triggered interrupt through an entry for APIC 300", () => {
  test("arrives, and is sent again after the EOI while the device still asks", () => {
    const { apics, ioapic, writeEntry, program } = machine();
    writeEntry(7, { P: 1, V: 0x55, TM: 1, DST: 300, SVT: 1, SID: 0xff00 });
    program(16, { V: 0x55, TM: 1, Format: 1, INDEX_14_0: 7 });
    ioapic.setPin(16, true);
    expect([apics.requested(0), apics.acknowledge(300)]).toEqual([[], 0x55]);
    apics.endOfInterrupt(300);
    expect(apics.acknowledge(300)).toBe(0x55);
    ioapic.setPin(16, false);
    apics.endOfInterrupt(300);
    expect(apics.requested(300)).toEqual([]);
  });
  test("moves to another processor by the entry alone, once that is invalidated", () => {
    const { apics, ioapic, remapper, writeEntry, program } = machine();
    writeEntry(7, { P: 1, V: 0x55, DST: 300 });
    program(4, { V: 0x55, Format: 1, INDEX_14_0: 7 });
    const pulse = (): number[] => {
      ioapic.setPin(4, true);
      ioapic.setPin(4, false);
      return apics.ids.map((id) => { const vector = apics.acknowledge(id); apics.endOfInterrupt(id); return vector; });
    };
    expect(pulse()).toEqual([-1, 0x55]);
    writeEntry(7, { P: 1, V: 0x55, DST: 0 });
    expect(pulse()).toEqual([-1, 0x55]);
    remapper.invalidateIndex(7, 0);
    expect(pulse()).toEqual([0x55, -1]);
  });
  test("is blocked when the entry belongs to another requester", () => {
    const { apics, ioapic, verdict, writeEntry, program } = machine();
    writeEntry(7, { P: 1, V: 0x55, DST: 300, SVT: 1, SID: 0x0100 });
    program(4, { V: 0x55, Format: 1, INDEX_14_0: 7 });
    ioapic.setPin(4, true);
    expect([verdict, apics.requested(300)]).toEqual([{ fault: 0x26, recorded: true, index: 7 }, []]);
  });
});
