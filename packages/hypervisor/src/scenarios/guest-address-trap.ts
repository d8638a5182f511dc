import { PAGE_SIZE } from "@iommu-lab/memory";
import { Access } from "@iommu-lab/pci-bus";
import type { Machine } from "../machine/machine.ts";
import { VirtualMachine } from "../vm/virtual-machine.ts";
import { bytesOf, equalBytes } from "./bytes.ts";
import { laboratory } from "./laboratory.ts";
import type { Scenario } from "./scenario.ts";
import type { Stage } from "./stage.ts";

const VM_MEMORY = 2 ** 20;
const PAGES = 8;
const CARD_ADDRESS = "0000:01:00.0";
const CANARY = 0xc3;

/** Memory of others where a guest's addresses would be host addresses: frames that the hypervisor and another VM use. */
const plantCanaries = (machine: Machine): number[] => {
  // A guest-physical address is small, and so is the memory that firmware and the kernel took first.
  const pages = Array.from({ length: PAGES }, (_, i) => i * PAGE_SIZE);
  for (const page of pages) machine.memory.writeFrom(page, new Uint8Array(PAGE_SIZE).fill(CANARY));
  return pages;
};

const damaged = (machine: Machine, pages: readonly number[]): number => {
  const bytes = new Uint8Array(PAGE_SIZE);
  return pages.reduce((sum, page) => {
    machine.memory.readInto(page, bytes);
    return sum + PAGE_SIZE - bytesOf(bytes, CANARY);
  }, 0);
};

/** The guest's driver gives the card the addresses that it knows: guest-physical ones. */
const dmaOfGuest = (stage: Stage, machine: Machine, vm: VirtualMachine): { readonly right: number; readonly data: Uint8Array } => {
  const data = stage.random.bytes(PAGES * PAGE_SIZE).map((byte) => (byte === CANARY ? 0 : byte));
  machine.at(CARD_ADDRESS).port.dmaWrite(0, data);
  machine.advance(0);
  const seen = new Uint8Array(PAGES * PAGE_SIZE);
  vm.memory.readInto(0, seen);
  return { right: seen.filter((byte, i) => byte === data[i] && byte !== 0).length, data };
};

const nonZero = (data: Uint8Array): number => data.length - bytesOf(data, 0);

/** S3: a guest's addresses are not the machine's. */
export const guestAddressTrap: Scenario = {
  name: "guest-address-trap",
  title: "A guest gives its addresses to a device",
  about: "A guest's driver programs a device with guest-physical addresses. Without an IOMMU they hit memory of the hypervisor; behind one with the guest's tables they hit the guest's own pages, also after the hypervisor moved one.",
  covers: ["R8", "R9", "R35"],
  protections: { "second-stage": ["remapped-canaries"], "update-after-move": ["moved-page-data", "moved-page-strays"] },
  run: (stage) => {
    const bare = stage.machine("no IOMMU", laboratory({ iommus: [], commandLine: "" }));
    const bareVm = new VirtualMachine(bare, { name: "guest", memory: VM_MEMORY });
    const bareCanaries = plantCanaries(bare);
    const open = dmaOfGuest(stage, bare, bareVm);
    const hurt = damaged(bare, bareCanaries);
    stage.say(`A guest of 1 MiB tells its card to write ${PAGES} pages to guest-physical address 0. Without an IOMMU that is host-physical address 0: ${hurt} bytes of the hypervisor are destroyed, and the guest's buffer stays empty.`);
    stage.check("open-canaries", { protected: false, expected: open.data.length, actual: hurt });
    stage.check("open-data-in-guest", { protected: false, expected: 0, actual: open.right });

    const machine = stage.machine("guest's tables", laboratory());
    const vm = new VirtualMachine(machine, { name: "guest", memory: VM_MEMORY });
    const canaries = plantCanaries(machine);
    const { address } = machine.at(CARD_ADDRESS);
    const driver = machine.kernel.driverOf(address);
    const domain = driver?.createDomain({ kind: stage.has("second-stage") ? "paging" : "identity" });
    if (!driver || !domain) return;
    if (domain.kind === "paging") for (let page = 0; page < VM_MEMORY / PAGE_SIZE; page++) domain.map(page * PAGE_SIZE, vm.memory.hpaOf(page * PAGE_SIZE), PAGE_SIZE, Access.Read | Access.Write);
    driver.attach(address.requester, domain);
    const closed = dmaOfGuest(stage, machine, vm);
    stage.check("remapped-canaries", { protected: true, expected: 0, actual: damaged(machine, canaries) });
    if (stage.has("second-stage")) stage.check("remapped-data-in-guest", { protected: true, expected: nonZero(closed.data), actual: closed.right });
    stage.say("Behind the IOMMU, with the guest's memory in its tables, the same request lands in the guest's own pages, and nothing else changes.");
    if (domain.kind === "paging") moveAPage(stage, machine, vm, domain);
    else movedNothing(stage);
  },
};

const MOVED = 3;

const moveAPage = (stage: Stage, machine: Machine, vm: VirtualMachine, domain: { unmap(iova: number, size: number): number; flush(): void; map(iova: number, hpa: number, size: number, access: number): void }): void => {
  const before = vm.memory.hpaOf(MOVED * PAGE_SIZE);
  const update = stage.has("update-after-move");
  if (update) {
    domain.unmap(MOVED * PAGE_SIZE, PAGE_SIZE);
    domain.flush();
  }
  const after = vm.memory.move(MOVED);
  if (update) domain.map(MOVED * PAGE_SIZE, after, PAGE_SIZE, Access.Read | Access.Write);
  // The old frame is somebody else's now.
  const stranger = new Uint8Array(PAGE_SIZE).fill(CANARY);
  machine.memory.writeFrom(before, stranger);
  const data = stage.random.bytes(PAGE_SIZE).map((byte) => (byte === CANARY || byte === 0 ? 1 : byte));
  machine.at(CARD_ADDRESS).port.dmaWrite(MOVED * PAGE_SIZE, data);
  const seen = new Uint8Array(PAGE_SIZE);
  vm.memory.readInto(MOVED * PAGE_SIZE, seen);
  stage.say("The hypervisor moves one page of the guest to another frame, unmaps, invalidates and maps it anew: the guest's address still works, and the old frame is left alone.");
  stage.check("moved-page-data", { protected: true, expected: PAGE_SIZE, actual: equalBytes(seen, data) });
  stage.check("moved-page-strays", { protected: true, expected: 0, actual: damaged(machine, [before]) });
  stage.check("frame-changed", { protected: false, expected: true, actual: before !== after });
};

const movedNothing = (stage: Stage): void => {
  stage.say("Without tables of its own the guest cannot be moved either.");
};
