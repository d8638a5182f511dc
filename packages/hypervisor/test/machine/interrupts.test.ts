import { IommuDriverError, type Posting } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { Machine } from "../../src/machine/machine.ts";
import { VirtualMachine } from "../../src/vm/index.ts";
import { twoDevices } from "./two-devices.ts";

const CARD = "01:00.0";
const OTHER = "05:00.0";
const machineWith = (vendor: "intel" | "amd", commandLine: string): Machine => new Machine(twoDevices(vendor, { kernel: { version: "6.12", commandLine } }));

describe.each(["intel", "amd"] as const)("interrupts of a machine with an IOMMU of %s", (vendor) => {
  test.each(["intel_iommu=on intremap=off", "intel_iommu=on nointremap"])("%s: nothing is remapped, and nothing is checked", (commandLine) => {
    const machine = machineWith(vendor, commandLine);
    const { address } = machine.at(CARD);
    const seen: number[] = [];
    const given = machine.kernel.requestInterrupt(address, (vector) => seen.push(vector), 1);
    expect([given.entry, machine.kernel.remapsInterruptsOf(address)]).toEqual([undefined, false]);
    machine.at(CARD).port.message(given.message.address, given.message.data);
    machine.at(OTHER).port.message(given.message.address, given.message.data);
    expect(seen).toHaveLength(2);
    expect(() => machine.kernel.driverOf(address)?.allocateInterrupt(address.requester, { vector: 0x40, deliveryMode: 0, destination: 0, destinationMode: "physical", trigger: "edge", redirectionHint: false })).toThrow(IommuDriverError);
    expect(machine.kernel.faults).toEqual([]);
  });

  test("with it DMA is still translated: no memory is reached that nobody mapped", () => {
    const machine = machineWith(vendor, "intel_iommu=on intremap=off");
    machine.at(CARD).port.dmaWrite(0x3000_0000, new Uint8Array(4).fill(1));
    expect(machine.memory.read32(0x3000_0000)).toBe(0);
  });

  test("a freed interrupt reaches nobody, and its vector can be given out again", () => {
    const machine = machineWith(vendor, "intel_iommu=on");
    const { address, port } = machine.at(CARD);
    let old = 0;
    let next = 0;
    const first = machine.kernel.requestInterrupt(address, () => old++);
    first.free();
    const second = machine.kernel.requestInterrupt(address, () => next++);
    expect(second.vector).toEqual(first.vector);
    port.message(second.message.address, second.message.data);
    expect([old, next, machine.processors.handled]).toEqual([0, 1, 1]);
  });

  test("processors take different vectors of the same interrupt line-up, and stray ones are kept", () => {
    const machine = machineWith(vendor, "intel_iommu=on intremap=off");
    const { address, port } = machine.at(CARD);
    const at: number[] = [];
    const both = [0, 1].map((processor) => machine.kernel.requestInterrupt(address, (_vector, taken) => at.push(taken), processor));
    for (const { message } of both) port.message(message.address, message.data);
    port.message(0xfee0_1000, 0xe9);
    expect([at, machine.processors.stray]).toEqual([[0, 1], [{ processor: 1, what: 0xe9 }]]);
  });

  test("an interrupt is posted to a running virtual processor without the host's doing", () => {
    const machine = machineWith(vendor, "intel_iommu=on");
    const vm = new VirtualMachine(machine, { name: "guest", memory: 2 ** 20, processors: 2 });
    const postings: Posting[] = [];
    machine.processors.onPosting((posting) => postings.push(posting));
    const { address, port } = machine.at(CARD);
    const given = machine.kernel.requestInterrupt(address, () => { throw new Error("The host was asked."); });
    const { structure, running } = vm.postingOf(1);
    given.entry?.post(structure, 0x51, false, running);
    const taken: number[] = [];
    vm.vcpus[1]?.handle(0x51, () => taken.push(1));
    for (let i = 0; i < 3; i++) {
      port.message(given.message.address, given.message.data);
      vm.vcpus[1]?.takeInterrupts();
    }
    expect([taken.length, vm.injected, vm.exits.total, vm.strayVectors]).toEqual([3, 3, 0, []]);
    expect(postings.map(({ vector, notification }) => [vector, notification.kind])).toEqual(Array.from({ length: 3 }, () => [0x51, vendor === "intel" ? "interrupt" : "doorbell"]));
  });
});

describe("posting on AMD", () => {
  test("the entry says on which processor the guest runs, or that it does not", () => {
    const machine = machineWith("amd", "");
    const vm = new VirtualMachine(machine, { name: "guest", memory: 2 ** 20 });
    const kinds: object[] = [];
    machine.processors.onPosting(({ notification }) => kinds.push(notification));
    const { address, port } = machine.at(CARD);
    const given = machine.kernel.requestInterrupt(address, () => undefined);
    for (const running of [1, 0x12_3456_78, undefined]) {
      given.entry?.post(vm.postingOf(0).structure, 0x52, false, running);
      port.message(given.message.address, given.message.data);
    }
    expect(kinds.slice(0, 2)).toEqual([{ kind: "doorbell", apicId: 1 }, { kind: "doorbell", apicId: 0x12_3456_78 }]);
    expect(kinds[2]).not.toMatchObject({ kind: "doorbell" });
  });
});
