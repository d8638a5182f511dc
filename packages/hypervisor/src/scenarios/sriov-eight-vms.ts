import { PAGE_SIZE } from "@iommu-lab/memory";
import { formatAddress } from "@iommu-lab/pci-bus";
import { StreamFlag } from "../devices/stream.ts";
import type { Machine } from "../machine/machine.ts";
import { Passthrough } from "../vm/passthrough.ts";
import { VirtualMachine } from "../vm/virtual-machine.ts";
import { bytesOf } from "./bytes.ts";
import { driveFromGuest, type GuestStream } from "./guest-driver.ts";
import { CARD, laboratory, slot } from "./laboratory.ts";
import type { Scenario } from "./scenario.ts";
import type { Stage } from "./stage.ts";

const VMS = 8;
const VM_MEMORY = 2 ** 21;
const SLOT = 0x20;
const VECTOR = 0x52;
const [RING, BUFFER, CANARY_PAGE] = [0x10_0000, 0x11_0000, 0x12_0000];
const CANARY = 0xc5;
const ROUNDS = 12;
/** A descriptor takes the shared link a microsecond. */
const DESCRIPTOR_TIME = 1000;
const PHYSICAL = "0000:01:00.0";
const NIC = { ...CARD, capabilities: { ...CARD.capabilities, ari: true, sriov: { totalVfs: VMS } } } as const;

interface Guest {
  readonly vm: VirtualMachine;
  readonly address: string;
  readonly stream: GuestStream;
}

const startGuests = (machine: Machine, addresses: readonly string[]): Guest[] =>
  addresses.flatMap((address, i) => {
    const vm = new VirtualMachine(machine, { name: `guest ${i}`, memory: VM_MEMORY });
    new Passthrough(vm).assign(address, SLOT);
    vm.boot();
    const [vcpu] = vm.vcpus;
    if (!vcpu) return [];
    vm.memory.writeFrom(CANARY_PAGE, new Uint8Array(PAGE_SIZE).fill(CANARY));
    return [{ vm, address, stream: driveFromGuest(vcpu, SLOT, RING, VECTOR) }];
  });

/** All guests want as much as they can get; each has one descriptor waiting at any time. @returns what each got */
const compete = (machine: Machine, guests: readonly Guest[]): number[] => {
  for (const { stream } of guests) {
    for (let i = 0; i < ROUNDS; i++) stream.driver.queue(BUFFER, 64);
    stream.driver.kick();
  }
  machine.advance(DESCRIPTOR_TIME * guests.length * (ROUNDS / 2));
  return guests.map(({ stream: { driver } }) => Array.from({ length: ROUNDS }, (_, i) => driver.flags(i) & StreamFlag.Done).filter(Boolean).length);
};

/** Every virtual function writes where the others have their canaries. @returns bytes that changed */
const crossAttack = (machine: Machine, guests: readonly Guest[]): number => {
  for (const attacker of guests)
    for (const victim of guests) {
      if (victim === attacker) continue;
      machine.at(attacker.address).port.dmaWrite(victim.vm.memory.hpaOf(CANARY_PAGE), new Uint8Array(PAGE_SIZE));
    }
  machine.advance(0);
  return guests.reduce((sum, { vm }) => {
    const page = new Uint8Array(PAGE_SIZE);
    vm.memory.readInto(CANARY_PAGE, page);
    return sum + PAGE_SIZE - bytesOf(page, CANARY);
  }, 0);
};

/** Functions of a machine without an IOMMU whose VMs' memory nothing guards. */
const unguarded = (stage: Stage): number => {
  const machine = stage.machine("no IOMMU", laboratory({ iommus: [], commandLine: "", functions: [slot("01.0", 1, [NIC], { ari: true })] }));
  const functions = machine.kernel.enableVirtualFunctions(machine.at(PHYSICAL).address, VMS);
  const guests = functions.map((address, i) => {
    const vm = new VirtualMachine(machine, { name: `guest ${i}`, memory: VM_MEMORY });
    vm.memory.writeFrom(CANARY_PAGE, new Uint8Array(PAGE_SIZE).fill(CANARY));
    const seat = machine.at(formatAddress(address));
    seat.fn.config.write(4, 2, 4);
    return { vm, address: formatAddress(address) } as Guest;
  });
  return crossAttack(machine, guests);
};

/** S13: one card, eight virtual functions, eight VMs. */
export const sriovEightVms: Scenario = {
  name: "sriov-eight-vms",
  title: "One card for eight virtual machines",
  about: "A card with SR-IOV shows eight virtual functions; each belongs to a VM of its own. They share the link in equal parts, and none reaches another's memory: each has a requester ID, a group and tables of its own.",
  covers: ["R33", "R39", "R47"],
  protections: { "tables-each": ["cross-writes"] },
  run: (stage) => {
    const machine = stage.machine("SR-IOV", laboratory({ functions: [slot("01.0", 1, [NIC], { ari: true })] }));
    const { kernel } = machine;
    const functions = kernel.enableVirtualFunctions(machine.at(PHYSICAL).address, VMS);
    const addresses = functions.map(formatAddress);
    // First VF Offset 1, VF Stride 1: the functions after 01:00.0; with ARI the eighth is function 8.
    stage.check("addresses", { protected: true, expected: Array.from({ length: VMS }, (_, i) => `0000:01:${(i + 1 >> 3).toString(16).padStart(2, "0")}.${(i + 1) & 7}`), actual: addresses });
    stage.check("groups", { protected: true, expected: VMS, actual: new Set(functions.map((address) => kernel.groupOf(address)?.id ?? -1)).size });
    const guests = startGuests(machine, addresses);
    const shares = compete(machine, guests);
    stage.say(`${VMS} virtual functions at ${addresses[0] ?? ""} and after, ${VMS} groups, ${VMS} guests that all want as much of the link as they can get.`);
    stage.check("shares", { protected: true, expected: Array.from({ length: VMS }, () => ROUNDS / 2), actual: shares });
    stage.say(`In the time for ${VMS * (ROUNDS / 2)} packets each guest gets ${ROUNDS / 2}: together all that the link can, and to each the same.`);
    if (!stage.has("tables-each")) shareTables(machine, guests);
    stage.check("cross-writes", { protected: true, expected: 0, actual: crossAttack(machine, guests) });
    stage.check("open-cross-writes", { protected: false, expected: VMS * PAGE_SIZE, actual: unguarded(stage) });
    stage.say(`Then each virtual function writes to the pages of all the others. Without an IOMMU every guest loses its page; with one, none loses a byte.`);
    stage.count("packets", shares.reduce((sum, each) => sum + each, 0));
  },
};

/** One identity domain for all: what an IOMMU in passthrough mode gives. */
const shareTables = (machine: Machine, guests: readonly Guest[]): void => {
  const [first] = guests;
  const driver = first && machine.kernel.driverOf(machine.at(first.address).address);
  const identity = driver?.createDomain({ kind: "identity" });
  if (!driver || !identity) return;
  for (const { address } of guests) driver.attach(machine.at(address).address.requester, identity);
};
