import { PAGE_SIZE } from "@iommu-lab/memory";
import { BouncePool, type DmaDevice } from "@iommu-lab/vfio/dma";
import type { Machine } from "../machine/machine.ts";
import { bytesOf, equalBytes } from "./bytes.ts";
import { laboratory } from "./laboratory.ts";
import type { Scenario } from "./scenario.ts";
import type { Stage } from "./stage.ts";

const MEMORY = 8 * 2 ** 30;
const PACKETS = 32;
const PACKET = 1500;
const POOL = 2 ** 20;
const POOL_ORDER = 8;
const CARD_ADDRESS = "0000:01:00.0";
const CANARY = 0x5a;

const highBuffers = (machine: Machine): number[] => Array.from({ length: PACKETS }, () => (machine.highFrames?.allocate() ?? 0) * PAGE_SIZE);

/** Packets arrive: the driver maps a buffer above 4 GiB, the card fills it, the driver unmaps it. @returns bytes that are right */
const receive = (stage: Stage, machine: Machine, dma: DmaDevice): number => {
  const { port } = machine.at(CARD_ADDRESS);
  const bytes = new Uint8Array(PACKET);
  let right = 0;
  for (const buffer of highBuffers(machine)) {
    const packet = stage.random.bytes(PACKET);
    const address = dma.map(buffer, PACKET, "from-device");
    if (address < 0) continue;
    port.dmaWrite(address, packet);
    dma.unmap(address, PACKET, "from-device");
    machine.memory.readInto(buffer, bytes);
    right += equalBytes(bytes, packet);
  }
  return right;
};

/** The driver that hands over an address its card cannot drive: what happens is the card's doing. */
const truncate = (stage: Stage, machine: Machine, dma: DmaDevice): { readonly right: number; readonly destroyed: number } => {
  const { port } = machine.at(CARD_ADDRESS);
  const bytes = new Uint8Array(PACKET);
  let right = 0;
  let destroyed = 0;
  for (const buffer of highBuffers(machine)) {
    const packet = stage.random.bytes(PACKET).map((byte) => (byte === CANARY ? 0 : byte));
    const driven = dma.truncate(buffer);
    machine.memory.writeFrom(driven, new Uint8Array(PACKET).fill(CANARY));
    port.dmaWrite(driven, packet);
    machine.memory.readInto(driven, bytes);
    destroyed += PACKET - bytesOf(bytes, CANARY);
    machine.memory.readInto(buffer, bytes);
    right += bytes.filter((byte, i) => byte === packet[i] && byte !== 0).length;
  }
  return { right, destroyed };
};

/** S5: a card with 32 address lines in a machine with more memory. */
export const dma32Bounce: Scenario = {
  name: "dma32-bounce",
  title: "A 32-bit card and 8 GiB of memory",
  about: "A network card drives 32 address bits, its buffers lie above 4 GiB. A driver that ignores it destroys memory; bounce buffers copy every packet; an IOMMU gives the buffers addresses that the card can drive, and nothing is copied.",
  covers: ["R13"],
  protections: { mask: ["iommu-bytes"] },
  run: (stage) => {
    const total = PACKETS * PACKET;
    const bare = stage.machine("no IOMMU", laboratory({ memory: MEMORY, iommus: [], commandLine: "" }));
    const block = bare.frames.allocate(POOL_ORDER) * PAGE_SIZE;
    const bounce = new BouncePool({ memory: bare.memory, start: block, size: POOL });
    const bug = truncate(stage, bare, bare.kernel.dmaDevice(bare.at(CARD_ADDRESS).address, { maskBits: 32 }));
    stage.say(`${PACKETS} packets of ${PACKET} bytes arrive for buffers above 4 GiB. A driver that ignores its card's 32 address lines destroys ${bug.destroyed} bytes of low memory, and no packet is where it should be.`);
    stage.check("truncated-destroyed", { protected: false, expected: total, actual: bug.destroyed });
    stage.check("truncated-received", { protected: false, expected: 0, actual: bug.right });

    const bouncing = bare.kernel.dmaDevice(bare.at(CARD_ADDRESS).address, { maskBits: 32, bounce });
    stage.check("bounced-received", { protected: true, expected: total, actual: receive(stage, bare, bouncing) });
    stage.check("bounced-copies", { protected: true, expected: 2 * PACKETS, actual: bouncing.counters.copiesIn + bouncing.counters.copiesOut });
    stage.check("bounced-bytes", { protected: true, expected: total, actual: bouncing.counters.bouncedBytes });
    stage.say(`Bounce buffers below 4 GiB make it right, with two copies a packet: ${bouncing.counters.bytesCopiedIn + bouncing.counters.bytesCopiedOut} bytes copied.`);

    const machine = stage.machine("IOMMU", laboratory({ memory: MEMORY }));
    const mapped = machine.kernel.dmaDevice(machine.at(CARD_ADDRESS).address, { maskBits: stage.has("mask") ? 32 : 64 });
    const right = receiveWithin32(stage, machine, mapped);
    stage.check("iommu-bytes", { protected: true, expected: total, actual: right });
    stage.check("iommu-copies", { protected: true, expected: 0, actual: mapped.counters.copiesIn + mapped.counters.copiesOut });
    stage.say("Behind the IOMMU every buffer gets an address below 4 GiB, wherever it is: no copies.");

    const wide = stage.machine("64-bit card", laboratory({ memory: MEMORY, iommus: [], commandLine: "" }));
    const direct = wide.kernel.dmaDevice(wide.at(CARD_ADDRESS).address);
    stage.check("wide-received", { protected: false, expected: total, actual: receive(stage, wide, direct) });
    stage.check("wide-copies", { protected: false, expected: 0, actual: direct.counters.copiesIn + direct.counters.copiesOut });
  },
};

/** The card drives 32 lines whatever the driver thinks. */
const receiveWithin32 = (stage: Stage, machine: Machine, dma: DmaDevice): number => {
  const { port } = machine.at(CARD_ADDRESS);
  const bytes = new Uint8Array(PACKET);
  // Long-lived mappings of another device have filled the low addresses where the mask does not forbid the high ones.
  const high = dma.limit > 2 ** 32;
  if (high) occupy(dma);
  let right = 0;
  for (const buffer of highBuffers(machine)) {
    const packet = stage.random.bytes(PACKET);
    const address = dma.map(buffer, PACKET, "from-device");
    port.dmaWrite(address % 2 ** 32, packet);
    dma.unmap(address, PACKET, "from-device");
    machine.memory.readInto(buffer, bytes);
    right += equalBytes(bytes, packet);
  }
  return right;
};

/** Takes all addresses below 4 GiB in large pieces of one frame range. */
const occupy = (dma: DmaDevice): void => {
  for (let pieces = 0; pieces < 64; pieces++) {
    const address = dma.map(0x10_0000, 2 ** 28, "to-device");
    if (address < 0 || address >= 2 ** 32) return;
  }
};
