import { advancedErrorReporting, singleRootIov, vendorSpecific, type CapabilityImage } from "@iommu-lab/pci-bus/capabilities";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatAddress } from "@iommu-lab/pci-bus";
import { identitiesOf, RegionIndex, VfioError, VfioKernel } from "../src/index.ts";
import { codeOf, makeMachine, makeProcess, nicDescription, openNic } from "./machine.ts";

const open = (machine = makeMachine()) => {
  const { device, container } = openNic(machine);
  const { config } = machine.nic;
  const read = (at: number, size: 1 | 2 | 4): number => {
    const bytes = new Uint8Array(size);
    device.readRegion(RegionIndex.Config, at, bytes);
    return bytes.reduceRight((value, byte) => value * 256 + byte, 0);
  };
  const write = (at: number, size: 1 | 2 | 4, value: number): void => {
    device.writeRegion(RegionIndex.Config, at, Uint8Array.from({ length: size }, (_, byte) => (value >>> (8 * byte)) & 0xff));
  };
  return { machine, device, container, config, read, write };
};

/** A capability with nothing in it, so that only its number matters. */
const blank = (id: number, extended: boolean): CapabilityImage => ({ id, extended, bytes: Uint8Array.of(id, 0, extended ? 1 : 0, 0, 0, 0, 0, 0), writable: new Uint8Array(8), writeOneToClear: new Uint8Array(8) });

describe("configuration space of an assigned function", () => {
  // What the user reads back after writing all ones, and what of it the device has got.
  test.each<[string, number, 1 | 2 | 4, number, "device" | "virtual"]>([
    ["Vendor", 0x00, 2, 0x8086, "virtual"],
    ["Device", 0x02, 2, 0x10d3, "virtual"],
    ["Revision and class", 0x08, 4, 0x0200_0000, "device"],
    ["Cache line size", 0x0c, 1, 0xff, "device"],
    ["Header type", 0x0e, 1, 0, "device"],
    ["BAR 0, 64 KiB of memory", 0x10, 4, 0xffff_0000, "virtual"],
    ["BAR 1, which is not there", 0x14, 4, 0, "virtual"],
    ["BAR 2, 32 ports", 0x18, 4, 0xffff_ffe1, "virtual"],
    ["BAR 3, low half of 64 bits", 0x1c, 4, 0xffff_c004, "virtual"],
    ["BAR 4, high half", 0x20, 4, 0xffff_ffff, "virtual"],
    ["Subsystem", 0x2c, 4, 0xa01f_8086, "device"],
    ["ROM, 4 KiB", 0x30, 4, 0xffff_f001, "virtual"],
    ["Interrupt line", 0x3c, 1, 0xff, "virtual"],
    ["Interrupt pin", 0x3d, 1, 1, "virtual"],
  ])("%s", (_name, at, size, expected, where) => {
    const { read, write, config } = open();
    const before = config.read(at, size);
    write(at, size, 0xffff_ffff);
    expect(read(at, size)).toBe(expected);
    expect(config.read(at, size)).toBe(where === "device" ? expected : before);
  });
  test("a BAR keeps the address that the user gives, and the device keeps the host's", () => {
    const { read, write, machine, device } = open();
    write(4, 2, 2);
    write(0x10, 4, 0x1234_5678);
    expect(read(0x10, 4)).toBe(0x1234_0000);
    device.writeRegion(0, 0x40, Uint8Array.of(9));
    expect(machine.nic.bars[0]?.read(0x40, 1)).toBe(9);
  });
  test("memory, bus master and I/O go to the device, Interrupt Disable does not", () => {
    const { read, write, config } = open();
    write(4, 2, 0x0407);
    expect([read(4, 2) & 0x407, config.read(4, 2) & 0x407]).toEqual([0x407, 7]);
  });
  test("write-one-to-clear bits of Status are the device's", () => {
    const { write, config, read } = open();
    config.bytes[7] = (config.bytes[7] ?? 0) | 0x20;
    expect(read(6, 2) & 0x2000).toBe(0x2000);
    write(6, 2, 0x2000);
    expect(config.read(6, 2) & 0x2000).toBe(0);
  });
  test("MSI's address and data stay with the user, and it is not on before the host has it on", () => {
    const { read, write, config } = open();
    const at = config.capability(5);
    write(at + 4, 4, 0xfee0_0004);
    write(at + 12, 2, 0x4041);
    write(at + 2, 2, 0x71);
    expect([read(at + 4, 4), read(at + 12, 2), read(at + 2, 2) & 0x71]).toEqual([0xfee0_0004, 0x4041, 0]);
    expect([config.read(at + 4, 4), config.read(at + 12, 2), config.read(at + 2, 2) & 0x71]).toEqual([0, 0, 0]);
  });
  test("MSI-X control reads as the device has it and cannot be written", () => {
    const { read, write, config } = open();
    const at = config.capability(0x11);
    write(at + 2, 2, 0xc000);
    expect([read(at + 2, 2), config.read(at + 2, 2)]).toEqual([3, 3]);
  });
  test("the power state goes through the host: what sleep loses comes back", () => {
    const { read, write, config, device } = open();
    const at = config.capability(1);
    const bar = config.read(0x10, 4);
    write(4, 2, 7);
    write(at + 4, 2, 3);
    expect([read(at + 4, 2) & 3, config.read(at + 4, 2) & 3, codeOf(() => device.readRegion(0, 0, new Uint8Array(4)))]).toEqual([3, 3, "EIO"]);
    write(at + 4, 2, 0);
    expect([read(at + 4, 2) & 3, config.read(0x10, 4), config.read(4, 2) & 7, codeOf(() => device.readRegion(0, 0, new Uint8Array(4)))]).toEqual([0, bar, 7, undefined]);
  });
  test("PME is neither announced nor enabled", () => {
    const { read, write, config } = open();
    const at = config.capability(1);
    write(at + 4, 2, 0x8100);
    expect([read(at + 2, 2) >> 11, read(at + 4, 2) & 0x8100]).toEqual([0, 0]);
  });
  test("Initiate FLR resets the function, reads as zero, and leaves addresses in place", () => {
    let resets = 0;
    const { read, write, config } = open(makeMachine({ nicOptions: { reset: () => resets++ } }));
    const at = config.capability(0x10);
    const before = resets;
    const bar = config.read(0x10, 4);
    write(4, 2, 6);
    write(at + 8, 2, 0x8000);
    expect([resets - before, read(at + 8, 2) & 0x8000, config.read(0x10, 4), config.read(4, 2) & 6]).toEqual([1, 0, bar, 6]);
  });
  test("payload sizes are virtual, error enables are not", () => {
    const { read, write, config } = open();
    const at = config.capability(0x10);
    const before = config.read(at + 8, 2);
    write(at + 8, 2, 0x504f);
    expect([read(at + 8, 2) & 0x70ef, config.read(at + 8, 2) & 0x70e0]).toEqual([0x504f, before & 0x70e0]);
    expect(config.read(at + 8, 2) & 0xf).toBe(0xf);
  });
  test("capabilities that nobody knows are left out of the list", () => {
    const machine = makeMachine({ nic: nicDescription({}, [blank(0x0d, false), vendorSpecific(Uint8Array.of(1, 2, 3))]) });
    const { read } = open(machine);
    const ids: number[] = [];
    for (let at = read(0x34, 1); at !== 0; at = read(at + 1, 1)) ids.push(read(at, 1));
    expect(ids).toEqual([1, 5, 0x10, 0x11, 9]);
  });
  test("an extended capability that users do not see is unlinked; at the first place it loses its number only", () => {
    const pasid = blank(0x1b, true);
    const list = (capabilities: readonly Parameters<typeof nicDescription>[1][]): number[] => {
      const { read } = open(makeMachine({ nic: nicDescription({}, capabilities.flatMap((each) => each ?? [])) }));
      const ids: number[] = [];
      for (let at = 0x100; at !== 0; at = read(at, 4) >>> 20) ids.push(read(at, 4) & 0xffff);
      return ids;
    };
    expect([list([[advancedErrorReporting(), pasid]]), list([[pasid, advancedErrorReporting()]])]).toEqual([[1], [0, 1]]);
  });
  test("an access of any size and alignment is cut as the kernel cuts it", () => {
    const { device, read } = open();
    const bytes = new Uint8Array(11);
    expect(device.readRegion(RegionIndex.Config, 1, bytes)).toBe(11);
    expect([...bytes]).toEqual(Array.from({ length: 11 }, (_, index) => read(1 + index, 1)));
  });
  test("whatever a user writes wherever, the host's BARs, messages and identity stay", () => {
    const access = fc.record({ at: fc.nat(0x1010), bytes: fc.uint8Array({ maxLength: 9 }) });
    const region = fc.record({ index: fc.integer({ min: -1, max: 10 }), at: fc.nat(0x1_1000), bytes: fc.uint8Array({ maxLength: 9 }), write: fc.boolean() });
    fc.assert(fc.property(fc.array(access, { maxLength: 25 }), fc.array(region, { maxLength: 10 }), (accesses, regions) => {
      const { device, config, machine } = open();
      const seen: number[] = [];
      device.setIrqs({ flags: 4 | 32, index: 2, start: 0, count: 1, targets: [() => seen.push(1)] });
      const fixed = (): number[] => [0x00, 0x10, 0x18, 0x1c, 0x20, 0x30, config.capability(5) + 4, config.capability(5) + 12, config.capability(0x11)].map((at) => config.read(at, 4));
      const before = fixed();
      for (const { at, bytes } of accesses) {
        const code = codeOf(() => device.writeRegion(RegionIndex.Config, at, bytes));
        expect(code).toBe(bytes.length > 0 && at + bytes.length > 0x1000 ? "EFAULT" : undefined);
        expect(codeOf(() => device.readRegion(RegionIndex.Config, at, bytes))).toBe(code);
      }
      for (const { index, at, bytes, write } of regions) {
        try {
          expect((write ? device.writeRegion(index, at, bytes) : device.readRegion(index, at, bytes)) <= bytes.length).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(VfioError);
        }
      }
      // Asleep the function keeps what it has, and gives it back when it wakes.
      const power = config.capability(1) + 4;
      device.writeRegion(RegionIndex.Config, power, Uint8Array.of(0));
      expect(fixed()).toEqual(before);
      device.writeRegion(RegionIndex.Config, 4, Uint8Array.of(6));
      machine.nic.raise(0);
      expect([seen, machine.iommu.faults]).toEqual([[1], 0]);
    }), { numRuns: 150 });
  });
});

describe("a virtual function", () => {
  const physical = nicDescription({}, [singleRootIov({ totalVfs: 2, firstVfOffset: 1, vfStride: 1, vfDevice: 0x10ca, vfBars: [{ index: 0, kind: "memory64", size: 0x4000 }] })]);
  const machine = () => {
    const made = makeMachine({ nic: physical });
    const at = made.nic.config.extendedCapability(0x10);
    const pf = made.address(made.nic);
    made.complex.configWrite(pf, at + 0x10, 2, 2);
    made.complex.configWrite(pf, at + 8, 2, 9);
    const address = { domain: 0, requester: pf.requester + 1 };
    for (const identity of identitiesOf(made.complex)) if (identity.address.requester === address.requester) made.drivers.add(identity);
    const kernel = new VfioKernel({ complex: made.complex, iommu: made.iommu, drivers: made.drivers, vectors: made.vectors, groups: [{ id: 7, members: [address] }] });
    made.drivers.detach(address);
    const container = kernel.openContainer(makeProcess().process);
    const group = kernel.openGroup(7);
    group.setContainer(container);
    container.setIommu(3);
    return { made, device: group.getDevice(formatAddress(address)) };
  };
  const read = (device: ReturnType<typeof machine>["device"], at: number): number => {
    const bytes = new Uint8Array(4);
    device.readRegion(RegionIndex.Config, at, bytes);
    return bytes.reduceRight((value, byte) => value * 256 + byte, 0);
  };
  test("it has the identity that its physical function tells, no INTx, and memory is on in its own view", () => {
    const { device } = machine();
    expect([read(device, 0), read(device, 4) & 2, read(device, 0x3c) & 0xff00, device.irqInfo(0).count]).toEqual([0x10ca_8086, 2, 0, 0]);
  });
  test("its BARs are those of the SR-IOV capability, sized as any BAR", () => {
    const { device } = machine();
    device.writeRegion(RegionIndex.Config, 0x10, new Uint8Array(8).fill(0xff));
    expect([read(device, 0x10), read(device, 0x14), device.regionInfo(0).size]).toEqual([0xffff_c004, 0xffff_ffff, 0x4000]);
  });
  test("it answers while its own memory enable is set, though the hardware has none", () => {
    const { device } = machine();
    device.writeRegion(0, 8, Uint8Array.of(5));
    const bytes = new Uint8Array(1);
    device.readRegion(0, 8, bytes);
    expect(bytes[0]).toBe(5);
    device.writeRegion(RegionIndex.Config, 4, Uint8Array.of(0, 0));
    expect([codeOf(() => device.readRegion(0, 8, bytes)), read(device, 4) & 2]).toEqual(["EIO", 0]);
  });
});
