/**
 * One story, twice: what a process does with an edu device through vfio-pci inside a Linux guest (`iommu boot`, its self-test), done by
 * a scripted guest with our own driver. What came of it with Debian's kernel 6.1 stands below: the lines that it wrote, and what the
 * self-test saw. `apps/cli/test/boot.slow.test.ts` sees it again with every full gate.
 */
import { decodeKernelLog as decodeAmd } from "@iommu-lab/iommu-amd/decode";
import { decodeKernelLog as decodeIntel } from "@iommu-lab/iommu-intel/decode";
import { Access, formatRequester } from "@iommu-lab/pci-bus";
import { expect, test } from "vitest";
import type { IommuChoice } from "../../src/board/index.ts";
import { EduFunction } from "../../src/devices/index.ts";
import { OWN, runGuest } from "../guest.ts";

/** 00:08.0, as in the Linux guest. */
const EDU = 0x40;
const VECTOR = 0x52;
const MAPPED = 0x1000_0000;
const UNMAPPED = 0x1_2345_6000;
const MESSAGE = "through the IOMMU and back again";
const Register = { source: 0x80, destination: 0x88, count: 0x90, command: 0x98, buffer: 0x4_0000 } as const;
const [START, TO_MEMORY, RAISE, REFUSED] = [1, 2, 4, 8] as const;

/** The self-test's three checks passed; the kernel wrote this. */
const LINUX: readonly { readonly iommu: IommuChoice; readonly line: string }[] = [
  { iommu: { vendor: "intel" }, line: "DMAR: [DMA Write NO_PASID] Request device [00:08.0] fault addr 0x123456000 [fault reason 0x05] PTE Write access is not set" },
  { iommu: { vendor: "intel", scalable: true }, line: "DMAR: [DMA Write NO_PASID] Request device [00:08.0] fault addr 0x123456000 [fault reason 0x79] SM: Read/Write permission error in second-level paging entry" },
  { iommu: { vendor: "amd" }, line: "vfio-pci 0000:00:08.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0008 address=0x123456000 flags=0x0000]" },
];

test.each(LINUX)("$iommu: messages, interrupts and the refused write are as with Linux", async ({ iommu: choice, line }) => {
  const seen = { message: "", command: 0, interrupts: 0 };
  const { end, board } = await runGuest({ iommu: choice, devices: () => [{ devfn: EDU, fn: new EduFunction() }] }, function* ({ cpu, bar, iommu, faults }) {
    const domain = iommu.createDomain({ kind: "paging" });
    domain.map(MAPPED, OWN, 0x1000, Access.Read | Access.Write);
    iommu.attach(EDU, domain);
    const registers = bar(EDU);
    const quad = (offset: number, value: number): void => {
      // The low half of the command starts the transfer: last.
      registers.write(offset + 4, 4, Math.floor(value / 2 ** 32));
      registers.write(offset, 4, value % 2 ** 32);
    };
    const transfer = (from: number, to: number, command: number): void => {
      quad(Register.source, from);
      quad(Register.destination, to);
      quad(Register.count, MESSAGE.length);
      quad(Register.command, command | START);
    };
    cpu.memory.writeFrom(OWN, new TextEncoder().encode(MESSAGE));
    transfer(MAPPED, Register.buffer, 0);
    transfer(Register.buffer, MAPPED + 0x800, TO_MEMORY);
    const back = new Uint8Array(MESSAGE.length);
    cpu.memory.readInto(OWN + 0x800, back);
    seen.message = new TextDecoder().decode(back);

    // MSI through a remapping entry, as the kernel sets it up for an eventfd.
    const { message } = iommu.allocateInterrupt(EDU, { vector: VECTOR, deliveryMode: 0, destination: 0, destinationMode: "physical", trigger: "edge", redirectionHint: false });
    let at = cpu.bus.configRead(EDU, 0x34, 1);
    while (cpu.bus.configRead(EDU, at, 1) !== 5) at = cpu.bus.configRead(EDU, at + 1, 1);
    const wide = (cpu.bus.configRead(EDU, at + 2, 2) & 0x80) !== 0;
    cpu.bus.configWrite(EDU, at + 4, 4, message.address);
    cpu.bus.configWrite(EDU, at + (wide ? 12 : 8), 2, message.data);
    cpu.bus.configWrite(EDU, at + 2, 2, 1);
    transfer(Register.buffer, MAPPED + 0x900, TO_MEMORY | RAISE);
    yield;
    seen.interrupts = cpu.interrupts().filter((each) => each.kind === "message" && (each.data & 0xff) === VECTOR).length;

    transfer(Register.buffer, UNMAPPED, TO_MEMORY);
    seen.command = registers.read(Register.command, 4);
    iommu.service();

    const [said] = (choice.vendor === "intel" ? decodeIntel : decodeAmd)(line).structures;
    expect(faults).toHaveLength(1);
    const [fault] = faults;
    expect(said?.facts).toMatchObject({ address: fault?.address, ...(choice.vendor === "intel" ? { requester: formatRequester(EDU), reason: fault?.code, access: "write" } : {}) });
    expect([fault?.requester, line.includes(`00:${(EDU >> 3).toString(16).padStart(2, "0")}.0`)]).toEqual([EDU, true]);
  });
  expect(end).toEqual({ reason: "powered-off" });
  // The bytes that came back, one on the eventfd, and the command after the bad write, as the self-test's program read them in Linux.
  expect(seen).toEqual({ message: MESSAGE, interrupts: 1, command: TO_MEMORY | REFUSED });
  expect([board.counters.faults, board.unknownAccesses]).toEqual([1, []]);
});
