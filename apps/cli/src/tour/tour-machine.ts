import { machineOfHost, reportGroups } from "@iommu-lab/host";
import { bundledHosts, readBundled } from "@iommu-lab/host/bundled";
import { Machine } from "@iommu-lab/hypervisor/machine";
import { Passthrough, VirtualMachine, type AssignedFunction } from "@iommu-lab/hypervisor/vm";
import { Access, AddressType, Completion, formatAddress, newTranslation, NO_PASID, type ExplanationStep } from "@iommu-lab/pci-bus";
import { parseMachine } from "@iommu-lab/pci-bus/machine";
import { Endpoint } from "@iommu-lab/pci-bus/model";
import { VgaArbiter, vgaDevicesOf } from "@iommu-lab/vga-arbiter";
import { describeFunction } from "../names/describe.ts";
import type { PciNames } from "../names/pci-ids.ts";
import { printable } from "../output/printable.ts";
import { style } from "../output/style.ts";

/** One stop of the tour. */
export interface TourStop {
  readonly title: string;
  readonly lines: readonly string[];
}

const GPU = "0000:01:00.0";
const MIB = 2 ** 20;
const VM_MEMORY = 16 * MIB;
const SLOT = 0x28;
const VECTOR = 0x41;
const BUFFER = 0x20_0000;
const MESSAGE = "written by a graphics card";

/** Where the guest's driver finds the MSI capability, by its own configuration accesses. */
const findMsi = (read: (offset: number, size: 1 | 2 | 4) => number): number => {
  for (let at = read(0x34, 1), hops = 0; at !== 0 && hops < 48; at = read(at + 1, 1), hops++) if (read(at, 1) === 5) return at;
  return 0;
};

/** The guest's driver: bus mastering on, one MSI to its processor. */
const startGuestDriver = (vm: VirtualMachine, devfn: number): { readonly interrupts: () => number } => {
  const [vcpu] = vm.vcpus;
  let interrupts = 0;
  if (!vcpu) return { interrupts: () => 0 };
  vcpu.handle(VECTOR, () => interrupts++);
  const msi = findMsi((offset, size) => vcpu.configRead(devfn, offset, size));
  const wide = (vcpu.configRead(devfn, msi + 2, 2) & 0x80) !== 0;
  vcpu.configWrite(devfn, 4, 2, 6);
  vcpu.configWrite(devfn, msi + 4, 4, 0xfee0_0000);
  if (wide) vcpu.configWrite(devfn, msi + 8, 4, 0);
  vcpu.configWrite(devfn, msi + (wide ? 12 : 8), 2, VECTOR);
  vcpu.configWrite(devfn, msi + 2, 2, 1);
  return {
    interrupts: () => {
      vcpu.takeInterrupts();
      return interrupts;
    },
  };
};

const explained = (machine: Machine, page: number): string[] => {
  const seat = machine.at(GPU);
  const steps: ExplanationStep[] = [];
  machine.unitOf(seat.address)?.iommu.translate({ requester: seat.requester, pasid: NO_PASID, addressType: AddressType.Untranslated, page, access: Access.Write }, newTranslation(), { step: (step) => steps.push(step) });
  return steps.slice(-4).map(({ structure, rule, section, outcome }) => style("dim", printable(`${structure}: ${rule} (${section}) → ${outcome}`)));
};

const assignGpu = (machine: Machine): { readonly vm: VirtualMachine; readonly fn: AssignedFunction; readonly stop: TourStop } => {
  const vm = new VirtualMachine(machine, { name: "guest", memory: VM_MEMORY });
  const passthrough = new Passthrough(vm);
  const group = machine.kernel.groupOf(machine.at(GPU).address);
  const fn = passthrough.assign(GPU, SLOT, "posted");
  vm.boot();
  return {
    vm,
    fn,
    stop: {
      title: "3. The graphics card moves into a virtual machine",
      lines: [
        `Its group is ${group?.members.map(formatAddress).join(" ") ?? "none"}: all of it goes, or nothing. vfio-pci takes the place of the host's drivers.`,
        `${passthrough.process.lockedPages} pages of the guest are pinned and mapped at the guest's own addresses; the card's registers are in the guest's address space.`,
      ],
    },
  };
};

const flow = (machine: Machine, vm: VirtualMachine): TourStop => {
  const { fn, port } = machine.at(GPU);
  const { interrupts } = startGuestDriver(vm, SLOT);
  const before = vm.exits.total;
  const written = port.dmaWrite(BUFFER, Uint8Array.from(MESSAGE, (character) => character.charCodeAt(0)));
  if (fn instanceof Endpoint) for (let i = 0; i < 3; i++) {
    fn.raise(0);
    interrupts();
  }
  const bytes = new Uint8Array(MESSAGE.length);
  vm.memory.readInto(BUFFER, bytes);
  return {
    title: "4. DMA and interrupts flow",
    lines: [
      `The card writes to guest-physical address 0x${BUFFER.toString(16)}: ${written === Completion.Successful ? `"${String.fromCharCode(...bytes)}"` : "refused"}, which is host-physical address 0x${vm.memory.hpaOf(BUFFER).toString(16)}; only the IOMMU's tables know that.`,
      `It interrupts three times: the guest's handler ran ${interrupts()} times, with ${vm.exits.total - before} exits.`,
    ],
  };
};

const attack = (machine: Machine): TourStop => {
  const secret = 0x4000_0000;
  const known = machine.kernel.faults.length;
  const completion = machine.at(GPU).port.dmaWrite(secret, new Uint8Array(64));
  machine.advance(0);
  const fault = machine.kernel.faults[known];
  return {
    title: "5. An attack",
    lines: [
      `The guest has its card write to 0x${secret.toString(16)}, which is not the guest's: ${completion === Completion.Successful ? "it went through!" : "refused."}`,
      fault ? `The host's kernel reads the fault record: ${formatAddress({ domain: 0, requester: fault.requester })}, address 0x${fault.address.toString(16)}, reason 0x${fault.code.toString(16)}: ${fault.text}.` : "No fault was recorded.",
      "How the IOMMU decided:",
      ...explained(machine, secret / 4096).map((line) => `  ${line}`),
    ],
  };
};

const vga = (machine: Machine): TourStop => {
  const lines: string[] = [];
  const arbiter = new VgaArbiter({ kernel: machine.description.kernel.version, log: (line) => lines.push(line) });
  arbiter.scan(vgaDevicesOf(machine.complex));
  const owners = arbiter.states.filter(({ owns }) => (owns & 3) !== 0).length;
  return { title: "6. VGA", lines: [`${arbiter.states.length} displays, one window at 0xa0000. ${owners === 1 ? "Firmware gave it to one of them" : `${owners} of them decode it`}; the kernel's arbiter says:`, ...lines.map((line) => style("dim", `  ${printable(line)}`))] };
};

/** The bundled machine with two graphics cards, brought to life. */
export const tourMachine = (names: PciNames): readonly TourStop[] => {
  const [bundled] = bundledHosts;
  const host = readBundled(bundled.name);
  const { machine: described } = machineOfHost(host);
  // Its owner's wish: both options that passthrough needs.
  const machine = new Machine(parseMachine({ ...described, kernel: { ...described.kernel, commandLine: `${described.kernel.commandLine ?? ""} intel_iommu=on` } }));
  const displays = host.functions.filter(({ classCode }) => (classCode ?? 0) >>> 8 === 0x0300).map((f) => `${formatAddress(f.address)} ${printable(describeFunction(f, names))}`);
  const groups = reportGroups(host, "computed").groups.length;
  const { vm, stop } = assignGpu(machine);
  return [
    { title: "2. A machine", lines: [`${bundled.title}: ${machine.placed.length} functions, ${machine.units.length} IOMMUs, ${groups} groups.`, ...displays] },
    stop,
    flow(machine, vm),
    attack(machine),
    vga(machine),
  ];
};
