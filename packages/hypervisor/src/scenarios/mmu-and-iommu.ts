import { hex, PAGE_SIZE } from "@iommu-lab/memory";
import type { Machine } from "../machine/machine.ts";
import { PageRight, ProcessorTables } from "../mmu/processor-tables.ts";
import { StreamRegister } from "../devices/stream.ts";
import { equalBytes } from "./bytes.ts";
import { barOf, driveFromHost } from "./host-driver.ts";
import { laboratory } from "./laboratory.ts";
import type { Scenario } from "./scenario.ts";
import type { Stage } from "./stage.ts";

const USER = PageRight.Read | PageRight.Write | PageRight.User;
/** Where processes have their buffer: the same virtual address in both. */
const BUFFER = 0x7f12_3456_7000;
/** A step of the processor, and what the card takes for a descriptor, in nanoseconds. */
const [STEP, DESCRIPTOR_TIME] = [100, 1000];
const MOST_STEPS = 100;
const CARD_ADDRESS = "0000:01:00.0";

/** Two processes, each with tables of its own and a page at the same virtual address. */
const processes = (machine: Machine): { readonly tables: ProcessorTables; readonly hpa: number }[] =>
  [0, 1].map(() => {
    const tables = new ProcessorTables("paging", machine.memory, machine.frames);
    const hpa = machine.frames.allocate() * PAGE_SIZE;
    tables.map(BUFFER, hpa, USER);
    return { tables, hpa };
  });

const showIsolation = (stage: Stage, machine: Machine, [first, second]: ReturnType<typeof processes>): void => {
  if (!first || !second) return;
  const places = [first, second].map(({ tables }) => tables.walk(BUFFER, PageRight.Read | PageRight.User).hpa);
  stage.say(`Two processes use the same virtual address ${hex(BUFFER)}. The MMU's walks end in different frames.`);
  stage.check("same-address-different-memory", { protected: true, expected: 2, actual: new Set(places).size });
  const kernel = machine.frames.allocate() * PAGE_SIZE;
  first.tables.map(0x1000, kernel, PageRight.Read | PageRight.Write | (stage.has("user-bit") ? 0 : PageRight.User));
  // Present, write, user: Intel SDM vol. 3 §4.7.
  stage.check("kernel-page-fault-code", { protected: true, expected: 7, actual: first.tables.walk(0x1000, PageRight.Write | PageRight.User).error });
  stage.check("unmapped-page-fault-code", { protected: false, expected: 4, actual: first.tables.walk(0x5000, PageRight.Read | PageRight.User).error });
};

/** The process is given the card's registers through the MMU: a store reaches the device and no memory. */
const showRegisters = (stage: Stage, machine: Machine, tables: ProcessorTables): void => {
  const card = machine.at(CARD_ADDRESS);
  const bar = barOf(card, 0);
  const window = 0x7f00_0000_0000;
  const before = tables.walk(window + StreamRegister.Entries, PageRight.Write | PageRight.User);
  tables.map(window, bar, USER);
  const after = tables.walk(window + StreamRegister.Entries, PageRight.Write | PageRight.User);
  if (after.hpa !== undefined) machine.map.write32(after.hpa, 8);
  stage.say("Without a mapping the card's registers fault; with one, a store of the process is a write to the device.");
  stage.check("register-unmapped-faults", { protected: true, expected: true, actual: before.hpa === undefined });
  stage.check("register-store-reaches-device", { protected: false, expected: 8, actual: after.hpa === undefined ? null : machine.map.read32(bar + StreamRegister.Entries) });
};

/** The card fills the process's buffer while the processor does something else. */
const runDma = (stage: Stage, machine: Machine, target: number): { readonly steps: number; readonly interrupts: number; readonly iova: number } => {
  const { driver, dma, interrupts } = driveFromHost(machine, CARD_ADDRESS);
  const iova = dma.map(target, PAGE_SIZE, "from-device");
  driver.queue(iova, PAGE_SIZE);
  driver.kick();
  let steps = 0;
  while (interrupts() === 0 && steps < MOST_STEPS) {
    machine.clock.advance(STEP);
    steps++;
  }
  stage.count("processor steps during DMA", steps);
  return { steps, interrupts: interrupts(), iova };
};

/** S1: one buffer, seen by the processor and by a device. */
export const mmuAndIommu: Scenario = {
  name: "mmu-and-iommu",
  title: "One buffer, two translations",
  about: "The processor's MMU and the IOMMU lead the same buffer's two addresses, a process's and a device's, to the same frame; the device works while the processor does something else.",
  covers: ["R1", "R2", "R3", "R5", "R16"],
  protections: { "user-bit": ["kernel-page-fault-code"] },
  run: (stage) => {
    const machine = stage.machine("laboratory", laboratory());
    const both = processes(machine);
    const [first] = both;
    if (!first) return;
    showIsolation(stage, machine, both);
    showRegisters(stage, machine, first.tables);
    const { steps, interrupts, iova } = runDma(stage, machine, first.hpa);
    const walk = first.tables.walk(BUFFER, PageRight.Read | PageRight.User);
    const domain = machine.kernel.defaultDomainOf(machine.at(CARD_ADDRESS).address);
    stage.say(`The device knows the buffer by another address than the process. The MMU's walk of ${walk.steps.length} levels and the IOMMU's tables end in the same frame.`);
    stage.check("same-frame", { protected: true, expected: true, actual: walk.hpa === first.hpa });
    stage.check("same-frame-for-the-device", { protected: true, expected: true, actual: domain?.lookup(iova) === first.hpa });
    stage.check("device-address-is-its-own", { protected: true, expected: true, actual: iova !== first.hpa && iova !== BUFFER });
    const landed = new Uint8Array(PAGE_SIZE);
    machine.memory.readInto(first.hpa, landed);
    const expected = Uint8Array.from({ length: PAGE_SIZE }, (_, i) => i & 0xff);
    stage.check("bytes-that-landed", { protected: false, expected: PAGE_SIZE, actual: equalBytes(landed, expected) });
    stage.say("The processor went on computing while the card filled the buffer, touched none of it, and then took one interrupt.");
    stage.check("steps-while-the-device-worked", { protected: false, expected: DESCRIPTOR_TIME / STEP, actual: steps });
    stage.check("interrupts", { protected: false, expected: 1, actual: interrupts });
    stage.count("walk reads of the MMU", walk.steps.length);
  },
};
