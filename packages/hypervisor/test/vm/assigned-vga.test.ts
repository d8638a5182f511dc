import { bootBios, LEGACY_RESOURCES, VgaArbiterError, VgaCard, type VgaDevice } from "@iommu-lab/vga-arbiter";
import { describe, expect, test } from "vitest";
import { Machine } from "../../src/machine/machine.ts";
import { AssignedVga } from "../../src/vm/assigned-vga.ts";
import { VirtualMachine } from "../../src/vm/virtual-machine.ts";
import { twoCards } from "../machine/two-cards.ts";

const TEXT = 0xb_8000;

const rig = (arbitrated = true) => {
  const machine = new Machine(twoCards());
  bootBios(machine.complex);
  const { vga } = machine.kernel;
  const devices = vga.states.map(({ device }) => device) as [VgaDevice, VgaDevice];
  const cards = ["01:00.0", "02:00.0"].map((address) => machine.at(address).fn).filter((fn) => fn instanceof VgaCard) as [VgaCard, VgaCard];
  const vms = devices.map((device, i) => {
    const vm = new VirtualMachine(machine, { name: `vm ${i + 1}`, memory: 2 ** 20 });
    const access = new AssignedVga(machine, device, arbitrated ? vga : undefined);
    vm.passVga(access);
    return { vm, access, cpu: vm.vcpus[0] as (typeof vm.vcpus)[number] };
  }) as [Assigned, Assigned];
  return { machine, vga, devices, cards, vms };
};
interface Assigned {
  readonly vm: VirtualMachine;
  readonly access: AssignedVga;
  readonly cpu: VirtualMachine["vcpus"][number];
}
const shown = (cards: readonly VgaCard[]): number[] => cards.map(({ memory }) => memory.readPlane(0, 0));

describe("a VM with the legacy ranges of a card", () => {
  test("its accesses leave the guest one by one and reach the card, not the guest's memory", () => {
    const { cards, vms: [, { vm, cpu }] } = rig();
    cpu.store(TEXT, 1, 0x41);
    cpu.out(0x3ce, 2, 0x0406);
    expect([cpu.load(TEXT, 1), cpu.in(0x3cf, 1)]).toEqual([0xff, 0x04]);
    expect(cards[1].registers.graphics.get(6)).toBe(0x04);
    expect(shown(cards)).toEqual([0x42, 0x41]);
    expect([vm.exits.of("mmio"), vm.exits.of("io"), vm.exits.user]).toEqual([2, 2, 4]);
    expect(vm.memory.read8(TEXT)).toBe(0);
  });
  test("each VM reaches its own card, and the ranges move only between different ones", () => {
    const { vga, cards, vms } = rig();
    for (const [i, { cpu }] of [...vms, ...vms].entries()) cpu.store(TEXT, 1, 0x61 + i);
    expect(shown(cards)).toEqual([0x63, 0x64]);
    expect(vga.ownerChanges).toBe(3);
  });
  test("without the arbiter they reach the card that has the ranges", () => {
    const { vga, cards, vms } = rig(false);
    vms[1].cpu.store(TEXT, 1, 0x61);
    expect([shown(cards), vga.ownerChanges]).toEqual([[0x61, 0x20], 0]);
  });
  test("memory beside the window, and without the ranges the window too, is the guest's RAM", () => {
    const { vms: [{ vm, cpu }] } = rig();
    cpu.store(0x9_ffff, 1, 1);
    cpu.store(0xc_0000, 1, 2);
    expect(vm.exits.total).toBe(0);
    vm.passVga(undefined);
    cpu.store(TEXT, 1, 3);
    cpu.out(0x3ce, 1, 0);
    expect([vm.memory.read8(0x9_ffff), vm.memory.read8(0xc_0000), vm.memory.read8(TEXT), vm.exits.of("mmio"), vm.exits.of("io")]).toEqual([1, 2, 3, 0, 1]);
  });
  test("an access waits while somebody holds the ranges for another card, and then goes on", () => {
    const { machine, vga, devices, cards, vms: [, { access, cpu }] } = rig();
    vga.tryGet(devices[0], LEGACY_RESOURCES);
    machine.clock.after(700, () => { vga.put(devices[0], LEGACY_RESOURCES); });
    cpu.store(TEXT, 1, 0x41);
    expect([shown(cards), access.waits, access.waited, machine.clock.now]).toEqual([[0x42, 0x41], 1, 700, 700]);
    cpu.store(TEXT, 1, 0x42);
    expect([access.waits, access.waited]).toEqual([1, 700]);
  });
  test("waiting for what never comes is refused, and nobody keeps waiting", () => {
    const { vga, devices, vms: [, { cpu }] } = rig();
    vga.tryGet(devices[0], LEGACY_RESOURCES);
    expect(() => { cpu.store(TEXT, 1, 0x41); }).toThrow(RangeError);
    expect(vga.waiting).toEqual([]);
  });
  test("of a card that is gone nothing can be asked", () => {
    const { vga, devices, vms: [, { cpu }] } = rig();
    vga.remove(devices[1]);
    expect(() => { cpu.store(TEXT, 1, 0x41); }).toThrow(VgaArbiterError);
  });
  test("a card pulled out while an access waits reads as all ones, and takes no write", () => {
    const { machine, vga, devices, cards, vms: [, { cpu }] } = rig();
    vga.tryGet(devices[0], LEGACY_RESOURCES);
    machine.clock.after(10, () => { vga.remove(devices[1]); });
    expect(cpu.load(TEXT, 2)).toBe(0xffff);
    expect(shown(cards)).toEqual([0x42, 0x20]);
  });
});
