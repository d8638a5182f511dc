import { DmaMapFlag, VfioError } from "@iommu-lab/vfio";
import { PAGE_SIZE } from "@iommu-lab/memory";
import type { Machine } from "../machine/machine.ts";
import { Passthrough } from "../vm/passthrough.ts";
import { VirtualMachine } from "../vm/virtual-machine.ts";
import { equalBytes } from "./bytes.ts";
import { driveFromGuest, type GuestStream } from "./guest-driver.ts";
import { driveFromHost } from "./host-driver.ts";
import { CARD, laboratory, slot } from "./laboratory.ts";
import type { Scenario } from "./scenario.ts";
import type { Stage } from "./stage.ts";

const CARD_ADDRESS = "0000:01:00.0";
const SOUND = { at: "00.1", vendor: 0x1af4, device: 0x10f1, classCode: 0x04_0300, capabilities: { powerManagement: true }, driver: "snd_hda_intel" } as const;
/** A capture card whose second function is its sound: one device, one group. */
const CAPTURE = [{ ...CARD, multifunction: true, driver: "cx23885" }, SOUND] as const;
const VM_MEMORY = 4 * 2 ** 20;
const SLOT = 0x20;
const VECTOR = 0x51;
const [RING, BUFFERS] = [0x10_0000, 0x20_0000];
const FRAMES = 8;
/** What a frame costs in exits when every register access leaves the guest: one doorbell, and reading and clearing the status. */
const EMULATED_ACCESSES = 3;
const EMULATED_INTERRUPT = 2;

const refusal = (action: () => unknown): string => {
  try {
    action();
    return "none";
  } catch (error) {
    if (error instanceof VfioError) return error.code;
    throw error;
  }
};

/** The guest captures frames: one buffer, one doorbell, one interrupt each. */
const capture = (vm: VirtualMachine, { driver, interrupts }: GuestStream): { readonly right: number; readonly exits: number; readonly interrupts: number } => {
  const before = vm.exits.total;
  const [vcpu] = vm.vcpus;
  let right = 0;
  for (let frame = 0; frame < FRAMES; frame++) {
    const buffer = BUFFERS + frame * PAGE_SIZE;
    driver.queue(buffer, PAGE_SIZE);
    driver.kick();
    vcpu?.compute(2000);
    driver.acknowledge();
    const bytes = new Uint8Array(PAGE_SIZE);
    vm.memory.readInto(buffer, bytes);
    right += equalBytes(bytes, Uint8Array.from({ length: PAGE_SIZE }, (_, i) => (frame + i) & 0xff));
  }
  return { right, exits: vm.exits.total - before, interrupts: interrupts() };
};

const refusals = (stage: Stage, machine: Machine): void => {
  const { kernel } = machine;
  const { vfio } = kernel;
  const group = kernel.groupOf(machine.at(CARD_ADDRESS).address);
  if (!group) return;
  stage.check("group-size", { protected: true, expected: 2, actual: group.members.length });
  vfio.drivers.detach(machine.at(CARD_ADDRESS).address);
  const open = vfio.openGroup(group.id);
  stage.check("half-a-group-viable", { protected: true, expected: false, actual: open.status().viable });
  const other = new VirtualMachine(machine, { name: "other", memory: PAGE_SIZE * 4 });
  const container = new Passthrough(other).container;
  stage.check("half-a-group-refused", { protected: true, expected: "EPERM", actual: refusal(() => { open.setContainer(container); }) });
  stage.check("second-open-refused", { protected: true, expected: "EBUSY", actual: refusal(() => vfio.openGroup(group.id)) });
  open.close();
  vfio.drivers.reattach(machine.at(CARD_ADDRESS).address);
  stage.say("The card's sound function is in its group: with one of the two given away and the other with the host, VFIO refuses. So it does when somebody opens the group a second time.");
};

/** S12: the whole way of a device into a VM and back. */
export const assignADevice: Scenario = {
  name: "assign-a-device",
  title: "A capture card moves into a virtual machine",
  about: "The host's driver is unbound, the group opened, the guest's memory pinned and mapped, the device's registers put into the guest's address space and its interrupts into the guest; the guest's own driver captures frames. Then everything goes back.",
  covers: ["R27", "R28", "R29", "R30", "R32", "R34", "R36", "R82", "R84"],
  protections: { "guest-mapping": ["captured-bytes"], "direct-registers": ["exits-of-registers"] },
  run: (stage) => {
    const machine = stage.machine("host", laboratory({ functions: [slot("01.0", 1, CAPTURE), slot("02.0", 2, [CARD])] }));
    const { drivers } = machine.kernel.vfio;
    const { address } = machine.at(CARD_ADDRESS);
    stage.check("host-driver-before", { protected: false, expected: "cx23885", actual: drivers.driverOf(address)?.name ?? null });
    refusals(stage, machine);

    const vm = new VirtualMachine(machine, { name: "guest", memory: VM_MEMORY });
    const passthrough = new Passthrough(vm);
    const fn = passthrough.assign(CARD_ADDRESS, SLOT, "posted");
    stage.check("vfio-driver", { protected: true, expected: "vfio-pci", actual: drivers.driverOf(address)?.name ?? null });
    stage.check("pinned-pages", { protected: true, expected: VM_MEMORY / PAGE_SIZE, actual: passthrough.process.lockedPages });
    if (!stage.has("guest-mapping")) mapBelowBuffers(passthrough);
    vm.boot();
    const [vcpu] = vm.vcpus;
    if (!vcpu) return;
    const guest = driveFromGuest(vcpu, SLOT, RING, VECTOR);
    if (!stage.has("direct-registers")) fn.unmapRegisters();
    const { right, exits, interrupts } = capture(vm, guest);
    stage.say(`The guest's driver finds the card at 00:04.0, programs its interrupt and captures ${FRAMES} frames into its own memory, by addresses that only it knows.`);
    stage.check("captured-bytes", { protected: true, expected: FRAMES * PAGE_SIZE, actual: right });
    stage.check("interrupts", { protected: true, expected: FRAMES, actual: interrupts });
    stage.check("exits-of-registers", { protected: true, expected: 0, actual: exits });
    stage.say("Its registers are in the guest's address space and its interrupts are posted: not one exit for a frame.");

    hostAttack(stage, machine, vm);
    giveBack(stage, machine, passthrough);
    emulated(stage);
  },
};

/** Leaves the guest's buffers out of the card's address space. */
const mapBelowBuffers = ({ container }: Passthrough): void => {
  container.unmapDma({ iova: 0, size: VM_MEMORY });
  container.mapDma({ flags: DmaMapFlag.Read | DmaMapFlag.Write, vaddr: 0, iova: 0, size: BUFFERS });
};

/** What the card can reach is the guest's memory and nothing else. */
const hostAttack = (stage: Stage, machine: Machine, vm: VirtualMachine): void => {
  const secret = machine.frames.allocate() * PAGE_SIZE;
  machine.memory.writeFrom(secret, new Uint8Array(PAGE_SIZE).fill(0xee));
  const outside = Math.max(secret, vm.memory.size);
  machine.at(CARD_ADDRESS).port.dmaWrite(outside, new Uint8Array(PAGE_SIZE));
  machine.advance(0);
  stage.check("host-memory-unchanged", { protected: true, expected: 0xee, actual: machine.memory.read8(secret) });
  stage.check("guest-cannot-be-taken-by-the-host", { protected: true, expected: "EBUSY", actual: refusal(() => {
    const { drivers } = machine.kernel.vfio;
    const sound = { domain: 0, requester: machine.at(CARD_ADDRESS).requester + 1 };
    drivers.setOverride(sound, undefined);
    drivers.unbind("vfio-pci", sound);
    drivers.bind("snd_hda_intel", sound);
  }) });
};

const giveBack = (stage: Stage, machine: Machine, passthrough: Passthrough): void => {
  passthrough.release();
  const { address } = machine.at(CARD_ADDRESS);
  stage.check("host-driver-after", { protected: true, expected: "cx23885", actual: machine.kernel.vfio.drivers.driverOf(address)?.name ?? null });
  stage.check("pinned-pages-after", { protected: true, expected: 0, actual: passthrough.process.lockedPages });
  const { driver, dma } = driveFromHost(machine, CARD_ADDRESS);
  const buffer = machine.frames.allocate() * PAGE_SIZE;
  driver.queue(dma.map(buffer, PAGE_SIZE, "from-device"), PAGE_SIZE);
  driver.kick();
  machine.advance(10_000);
  stage.check("host-drives-it-again", { protected: true, expected: 1, actual: machine.memory.read8(buffer + 1) - machine.memory.read8(buffer) });
  stage.say("When the guest is gone the card is reset, the guest's memory unpinned, and the host's driver drives it again.");
};

/** The same guest with an emulated card of the same kind: what each frame costs then. */
const emulated = (stage: Stage): void => {
  const machine = stage.machine("emulated card", laboratory());
  const vm = new VirtualMachine(machine, { name: "guest", memory: VM_MEMORY });
  const passthrough = new Passthrough(vm);
  const fn = passthrough.assign("0000:02:00.0", SLOT, "emulated");
  vm.boot();
  const [vcpu] = vm.vcpus;
  if (!vcpu) return;
  const guest = driveFromGuest(vcpu, SLOT, RING, VECTOR);
  fn.unmapRegisters();
  const { exits } = capture(vm, guest);
  stage.check("trapped-exits", { protected: false, expected: FRAMES * (EMULATED_ACCESSES + EMULATED_INTERRUPT), actual: exits });
  stage.say(`With every register access trapped and every interrupt injected by the hypervisor's process, each frame costs ${EMULATED_ACCESSES} exits for registers and two for its interrupt.`);
};
