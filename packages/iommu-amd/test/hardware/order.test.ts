/** The rows of docs/order-of-checks.md. */
import { IRTE_32 } from "@iommu-lab/interrupt-remap/amd";
import { Access } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import * as layouts from "../../src/layouts/index.ts";
import { DEVICE, DEVICE_TABLE, gcr3Fields, INTERRUPT_TABLE, RAM, Rig, type Fields } from "./rig.ts";

/** A defect: the event that tells of it, as the flags that count, and what puts it right. */
type Defect = readonly [event: string, flags: Fields, repair: () => void];

const FLAGS = ["PR", "PE", "RZ", "RW", "GN", "I", "Type"];
/** Where no memory is. */
const NOWHERE = RAM / 4096 + 7;
const PAGE = 0x1_2345;

/** Repairs one defect after the other and watches each event appear; nothing is logged in the end. */
const watch = (rig: Rig, request: () => void, defects: readonly Defect[]): void => {
  const told = (): readonly (readonly [unknown, object])[] => rig.events().map((event) => [event.name, Object.fromEntries(FLAGS.filter((flag) => flag in event).map((flag) => [flag, event[flag]]))]);
  for (const [event, flags, repair] of defects) {
    request();
    expect(told()).toEqual([[event, flags]]);
    repair();
  }
  request();
  expect(told()).toEqual([]);
};

const FAULT = "IO_PAGE_FAULT";

describe("what is wrong is judged in this order (AMD-Vi §2.5)", () => {
  test("DMA through the host table", () => {
    const rig = new Rig({ caches: "none", physicalAddressWidth: 40 });
    const [top, middle, leaf] = [rig.page(), rig.page(), rig.page()];
    let page = 0xf_ee12;
    let entry: Fields = { TV: 0, IR: 0, IW: 0, Mode: 7, HostRoot: NOWHERE, GV: 1, GLX: 3 };
    const change = (fields: Fields): void => {
      entry = { ...entry, ...fields };
      rig.device(entry);
    };
    change({});
    rig.flip(DEVICE_TABLE + 32 * DEVICE, 2);
    rig.write(layouts.DEV_TAB_BASE, { DevTabBase: NOWHERE, Size: 0 });
    /** A directory entry with everything wrong, and its repairs. */
    const pde: Record<string, number> = { PR: 0, IR: 0, IW: 0, NextLevel: 3, Address: middle };
    const at = top * 4096 + 8 * (PAGE >>> 18);
    const put = (fields: Fields): void => {
      Object.assign(pde, fields);
      rig.put(layouts.HOST_PDE, at, pde);
    };
    put({});
    rig.flip(at, 52);
    rig.put(layouts.HOST_PDE, middle * 4096 + 8 * ((PAGE >>> 9) & 511), { PR: 1, IR: 1, IW: 1, NextLevel: 1, Address: leaf });
    const leafAt = leaf * 4096 + 8 * (PAGE & 511);
    rig.put(layouts.HOST_PTE, leafAt, { PR: 1, IR: 1, IW: 1, Address: 2 ** 28 });
    watch(rig, () => rig.translate(page, { access: Access.Write }), [
      ["INVALID_DEVICE_REQUEST", {}, () => { page = 0xfdf_9100; }],
      [FAULT, {}, () => { rig.write(layouts.DEV_TAB_BASE, { DevTabBase: NOWHERE, Size: 511 }); }],
      ["DEV_TAB_HARDWARE_ERROR", { RW: 1, Type: 2 }, () => { rig.write(layouts.DEV_TAB_BASE, { DevTabBase: DEVICE_TABLE / 4096, Size: 511 }); }],
      ["ILLEGAL_DEV_TABLE_ENTRY", { RZ: 1, RW: 1 }, () => { change({}); }],
      ["ILLEGAL_DEV_TABLE_ENTRY", { RW: 1 }, () => { change({ GLX: 0 }); }],
      ["INVALID_DEVICE_REQUEST", { Type: 3 }, () => { page = 2 ** 27 + PAGE; }],
      [FAULT, {}, () => { change({ TV: 1 }); }],
      [FAULT, { PR: 1, PE: 1, RW: 1 }, () => { change({ IR: 1, IW: 1 }); }],
      [FAULT, { PR: 1, RW: 1 }, () => { change({ Mode: 3 }); }],
      [FAULT, { PR: 1, RW: 1 }, () => { page = PAGE; }],
      ["PAGE_TAB_HARDWARE_ERROR", { RW: 1, Type: 2 }, () => { change({ HostRoot: top }); }],
      [FAULT, {}, () => { put({ PR: 1 }); rig.flip(at, 52); }],
      [FAULT, { PR: 1, RZ: 1, RW: 1 }, () => { rig.flip(at, 52); }],
      [FAULT, { PR: 1, PE: 1, RW: 1 }, () => { put({ IR: 1, IW: 1 }); }],
      [FAULT, { PR: 1, RW: 1 }, () => { put({ NextLevel: 2 }); }],
      [FAULT, { PR: 1, RZ: 1, RW: 1 }, () => { rig.put(layouts.HOST_PTE, leafAt, { PR: 1, IR: 1, IW: 1, Address: 2 ** 28 - 1 }); }],
    ]);
  });

  test("DMA through guest tables", () => {
    const rig = new Rig({ caches: "none", efr: { PASMax: 7, GLXSup: 0 }, control: { GTEn: 1 } });
    const [gcr3, table] = [rig.page(), rig.page()];
    let page = 2 ** 35;
    let pasid = 2 ** 9;
    let entry: Fields = { IW: 0, ...gcr3Fields(NOWHERE) };
    const change = (fields: Fields): void => {
      entry = { ...entry, ...fields };
      rig.device(entry);
    };
    change({});
    const entries = rig.mapGuest(table, PAGE, 0x9999);
    const top = entries[0] as number;
    const next = layouts.GUEST_PTE.get.Address(rig.words(top, 2));
    rig.put(layouts.GUEST_PTE, top, { P: 0, RW: 0, US: 1, PS: 1, Address: next });
    const pointer = gcr3 * 4096 + 8 * 3;
    rig.put(layouts.GCR3_ENTRY, pointer, { V: 0, Address: NOWHERE });
    rig.flip(pointer, 1);
    watch(rig, () => rig.translate(page, { access: Access.Write, pasid }), [
      [FAULT, { PR: 1, PE: 1, RW: 1, GN: 1 }, () => { change({ IW: 1 }); }],
      [FAULT, { GN: 1 }, () => { change({ GV: 1 }); }],
      [FAULT, { GN: 1 }, () => { page = PAGE; }],
      [FAULT, { GN: 1 }, () => { pasid = 3; }],
      ["PAGE_TAB_HARDWARE_ERROR", { RW: 1, GN: 1, Type: 2 }, () => { change(gcr3Fields(gcr3)); }],
      [FAULT, { GN: 1 }, () => { rig.flip(pointer, 0); }],
      [FAULT, { PR: 1, RZ: 1, RW: 1, GN: 1 }, () => { rig.flip(pointer, 1); }],
      ["PAGE_TAB_HARDWARE_ERROR", { RW: 1, GN: 1, Type: 2 }, () => { rig.put(layouts.GCR3_ENTRY, pointer, { V: 1, Address: table }); }],
      [FAULT, { GN: 1 }, () => { rig.flip(top, 0); }],
      [FAULT, { PR: 1, RZ: 1, RW: 1, GN: 1 }, () => { rig.flip(top, 7); }],
      [FAULT, { PR: 1, PE: 1, RW: 1, GN: 1 }, () => { rig.flip(top, 1); }],
    ]);
  });

  test("interrupts", () => {
    const rig = new Rig({ caches: "none" });
    const device = (fields: Fields): void => void rig.device({ IV: 1, IntCtl: 3, IntTabLen: 12, IntTabRoot: NOWHERE * 32, ...fields });
    const at = DEVICE_TABLE + 32 * DEVICE;
    device({});
    rig.flip(at, 180);
    rig.put(IRTE_32, INTERRUPT_TABLE + 4 * 5, { IntType: 5, Vector: 0x41 });
    watch(rig, () => rig.interrupt(5), [
      ["ILLEGAL_DEV_TABLE_ENTRY", { RZ: 1, I: 1 }, () => { device({}); }],
      ["ILLEGAL_DEV_TABLE_ENTRY", { RZ: 1, I: 1 }, () => { device({ IntCtl: 2 }); }],
      ["ILLEGAL_DEV_TABLE_ENTRY", { I: 1 }, () => { device({ IntCtl: 2, IntTabLen: 2 }); }],
      [FAULT, { I: 1 }, () => { device({ IntCtl: 2, IntTabLen: 3 }); }],
      ["PAGE_TAB_HARDWARE_ERROR", { I: 1, Type: 2 }, () => { device({ IntCtl: 2, IntTabLen: 3, IntTabRoot: INTERRUPT_TABLE / 128 }); }],
      [FAULT, { I: 1 }, () => { rig.flip(INTERRUPT_TABLE + 4 * 5, 0); }],
      [FAULT, { PR: 1, RZ: 1, I: 1 }, () => { rig.put(IRTE_32, INTERRUPT_TABLE + 4 * 5, { RemapEn: 1, Vector: 0x41 }); }],
    ]);
    expect(rig.delivered).toMatchObject([{ vector: 0x41 }]);
  });
});
