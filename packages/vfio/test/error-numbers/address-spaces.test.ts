import { IommuDriverError } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import type { IoasMapRequest, IovaRange } from "../../src/index.ts";
import { codeOf, makeMachine, makeProcess } from "../machine.ts";
import { inOrder } from "./in-order.ts";

const PAGE = 4096;
const LAST = 2n ** 64n - 1n;
const TOP = 0xffff_ffff_ffff_f000n;
const ABSENT = 0x1000_0000;
const NOBODY = 99;
const RW = { readable: true, writable: true } as const;

/** An address space that the NIC is attached to. 8 pages may be locked, of which 4 are: IOVA 0x20_0000. */
const open = () => {
  const machine = makeMachine();
  machine.drivers.detach(machine.address(machine.nic));
  const { memory: user, process } = makeProcess({ lockedLimit: 8 * PAGE });
  const iommufd = machine.kernel.openIommufd(process);
  const ioas = iommufd.allocateIoas();
  const device = iommufd.bind(machine.address(machine.nic));
  iommufd.attach(device, ioas);
  iommufd.map(ioas, { iova: 0x20_0000, vaddr: 0, length: 4 * PAGE, ...RW });
  return { machine, user, iommufd, ioas, device };
};

interface Map extends IoasMapRequest {
  readonly ioas: number;
}

// Linux drivers/iommu/iommufd: iommufd_ioas_map, iopt_map_user_pages, iopt_map_pages with iopt_alloc_area_pages, iopt_check_iova
// and iopt_insert_area, then iopt_fill_domains_pages.
describe("IOMMU_IOAS_MAP", () => {
  test.each(inOrder<Map>([
    ["an IOVA of all ones", { iova: LAST }, "EOVERFLOW"],
    ["no rights", { readable: false, writable: false }, "EINVAL"],
    ["no such space", { ioas: NOBODY }, "ENOENT"],
    ["memory that wraps", { vaddr: TOP, length: PAGE + 1 }, "EOVERFLOW"],
    ["no bytes", { length: 0 }, "EINVAL"],
    ["a part of a page", { length: PAGE + 1 }, "EINVAL"],
    ["an IOVA that is none", { iova: TOP + 1n, length: 9 * PAGE }, "EINVAL"],
    ["IOVAs that wrap", { iova: TOP }, "EOVERFLOW"],
    ["reserved IOVAs", { iova: 0xfee0_0000 }, "EINVAL"],
    ["IOVAs past the width", { iova: 2 ** 48 }, "EINVAL"],
    ["an overlap", { iova: 0x20_3000 }, "EEXIST"],
    ["a virtual address that is none", { iova: 0x10_0000, vaddr: ABSENT + 1 }, "EINVAL"],
    ["memory that is not there", { vaddr: ABSENT }, "EFAULT"],
    ["more than may be locked", { length: 5 * PAGE }, "ENOMEM"],
  ]))("%s is refused before what comes after it", (_rule, request, code) => {
    const { iommufd, ioas, user } = open();
    expect([codeOf(() => iommufd.map(request.ioas ?? ioas, { iova: 0x10_0000, vaddr: 0, length: 4 * PAGE, ...RW, ...request })), user.total, iommufd.areas(ioas).length]).toEqual([code, 4, 1]);
  });
  test.each(inOrder<Map>([
    ["no bytes", { length: 0 }, "EINVAL"],
    ["a part of a page", { length: PAGE + 1 }, "EINVAL"],
    ["half of all addresses", { length: 2n ** 63n }, "EOVERFLOW"],
    ["a virtual address that is none", { vaddr: ABSENT + 1 }, "EINVAL"],
    ["more than is free", { length: 48 * PAGE }, "ENOSPC"],
    ["memory that is not there", { vaddr: ABSENT, length: 9 * PAGE }, "EFAULT"],
    ["more than may be locked", { length: 5 * PAGE }, "ENOMEM"],
  ]))("where the kernel chooses, %s is refused before what comes after it", (_rule, request, code) => {
    const { iommufd, ioas, user } = open();
    iommufd.allowIovas(ioas, [{ start: 0x10_0001n, last: 0x12_ffffn }]);
    expect([codeOf(() => iommufd.map(ioas, { vaddr: 0, length: 4 * PAGE, ...RW, ...request })), user.total, iommufd.areas(ioas).length]).toEqual([code, 4, 1]);
  });
  test("what the domains' drivers say comes last, and leaves nothing", () => {
    const { machine, iommufd, ioas, device, user } = open();
    const [first] = [...machine.iommu.domains];
    iommufd.allocateHwpt({ kind: "paging", device, ioas });
    const [, second] = [...machine.iommu.domains];
    if (second) second.refuse = new IommuDriverError("ENOMEM", "There is no memory for its tables.");
    expect([codeOf(() => iommufd.map(ioas, { iova: 0, vaddr: 0, length: PAGE, ...RW })), user.total, first?.pages.size, first?.stale.size, iommufd.areas(ioas).length]).toEqual(["ENOMEM", 4, 4, 0, 1]);
  });
  test("a length of all ones is EOVERFLOW before there are rights", () => {
    const { iommufd } = open();
    expect(codeOf(() => iommufd.map(NOBODY, { vaddr: 0, length: LAST, readable: false, writable: false }))).toBe("EOVERFLOW");
  });
});

interface Copy {
  readonly destination: number;
  readonly source: number;
  readonly from: number | bigint;
  readonly length: number | bigint;
  readonly iova: number | bigint;
  readonly readable: boolean;
  readonly writable: boolean;
}

// Linux drivers/iommu/iommufd: iommufd_ioas_copy, iopt_get_pages, then as for IOMMU_IOAS_MAP.
describe("IOMMU_IOAS_COPY", () => {
  test.each(inOrder<Copy>([
    ["an IOVA of all ones", { from: LAST }, "EOVERFLOW"],
    ["a destination of all ones", { from: 0x10_0001, iova: LAST }, "EOVERFLOW"],
    ["no rights", { readable: false, writable: false }, "EINVAL"],
    ["no such source", { source: NOBODY }, "ENOENT"],
    ["no bytes", { length: 0 }, "EINVAL"],
    ["a source that wraps", { from: TOP, length: 2 * PAGE }, "EOVERFLOW"],
    ["a gap", { from: 0x10_0001, length: 20 * PAGE }, "ENOENT"],
    ["no such destination", { destination: NOBODY, writable: true }, "ENOENT"],
    ["a part of a page", { length: PAGE + 1 }, "EINVAL"],
    ["a destination that is no page", { iova: TOP + 1n, length: 2 * PAGE }, "EINVAL"],
    ["a destination that wraps", { iova: TOP }, "EOVERFLOW"],
    ["a reserved destination", { iova: 0xfee0_0000 }, "EINVAL"],
    ["an overlap", { iova: 0x20_0000 }, "EEXIST"],
    ["writing what was mapped to be read", { iova: 0x30_0000, writable: true }, "EPERM"],
    ["a source that is no page", { from: 0x10_0001, writable: false }, "EINVAL"],
    ["memory that is not there", { from: 0x80_0000 }, "EFAULT"],
    ["more than may be locked", { from: 0x90_0000, length: 5 * PAGE }, "ENOMEM"],
  ]))("%s is refused before what comes after it", (_rule, request, code) => {
    const { iommufd, ioas, user } = open();
    const lazy = iommufd.allocateIoas();
    iommufd.map(lazy, { iova: 0x10_0000, vaddr: ABSENT, length: 16 * PAGE, readable: true, writable: false });
    iommufd.map(lazy, { iova: 0x80_0000, vaddr: ABSENT, length: 9 * PAGE, ...RW });
    iommufd.map(lazy, { iova: 0x90_0000, vaddr: 0, length: 9 * PAGE, ...RW });
    const { destination, source, from, length, ...to } = { destination: ioas, source: lazy, from: 0x10_0000, length: PAGE, iova: 0x30_0000, readable: true, writable: false, ...request };
    expect([codeOf(() => iommufd.copy(destination, source, { iova: from, length }, to)), user.total, iommufd.areas(ioas).length]).toEqual([code, 4, 1]);
  });
  test("what counts is how the memory was mapped, not what the area allows that is copied", () => {
    const { iommufd, ioas } = open();
    const copy = (iova: number, to: number, rights: { readonly readable: boolean; readonly writable: boolean }) => codeOf(() => iommufd.copy(ioas, ioas, { iova, length: PAGE }, { iova: to, ...rights }));
    expect([copy(0x20_0000, 0x30_0000, { readable: true, writable: false }), copy(0x30_0000, 0x40_0000, RW)]).toEqual([undefined, undefined]);
  });
});

// Linux drivers/iommu/iommufd: iommufd_ioas_unmap, iopt_unmap_iova, iopt_unmap_iova_range.
describe("IOMMU_IOAS_UNMAP", () => {
  test.each<[string, number | undefined, number | bigint, number | bigint, string | undefined, number]>([
    ["no such space, whatever the range", NOBODY, LAST, LAST, "ENOENT", 3],
    ["an IOVA of all ones, also without bytes", undefined, LAST, 0, "EOVERFLOW", 3],
    ["a length of all ones that does not begin at 0", undefined, 1, LAST, "EOVERFLOW", 3],
    ["no bytes", undefined, 0x20_0001, 0, "EINVAL", 3],
    ["a wrap, whatever is mapped", undefined, 0x20_0001, LAST - 1n, "EOVERFLOW", 3],
    ["a byte of an area too few at its end, when those before are gone", undefined, 0x20_0000, 0xbfff, "ENOENT", 1],
    ["a byte too few at its start", undefined, 0x20_0001, 0x3fff, "ENOENT", 3],
    ["a page of an area", undefined, 0x20_1000, PAGE, "ENOENT", 3],
    ["nothing that is mapped", undefined, 0x30_0000, PAGE, "ENOENT", 3],
    ["areas, and what is between them and around", undefined, 1, 0x30_0000, undefined, 0],
    ["everything", undefined, 0, LAST, undefined, 0],
  ])("%s", (_what, space, iova, length, code, left) => {
    const { iommufd, ioas } = open();
    for (const at of [0x20_4000, 0x20_8000]) iommufd.copy(ioas, ioas, { iova: 0x20_0000, length: 4 * PAGE }, { iova: at, ...RW });
    expect([codeOf(() => iommufd.unmap(space ?? ioas, iova, length)), iommufd.areas(ioas).length]).toEqual([code, left]);
  });
  test("everything of nothing is no bytes", () => {
    const { iommufd } = open();
    expect(iommufd.unmap(iommufd.allocateIoas(), 0, LAST)).toBe(0);
  });
});

// Linux drivers/iommu/iommufd: iommufd_ioas_allow_iovas, iopt_set_allow_iova, iopt_reserve_iova.
describe("IOMMU_IOAS_ALLOW_IOVAS", () => {
  test.each<[string, readonly IovaRange[], string | undefined]>([
    ["one byte", [{ start: 0xfee0_0000n, last: 0xfee0_0000n }], "EINVAL"],
    ["a range that ends before it begins", [{ start: 0xfee0_0001n, last: 0xfee0_0000n }], "EINVAL"],
    ["an overlap of reserved IOVAs", [{ start: 0xfee0_0000n, last: 0xfee0_1000n }, { start: 0xfee0_1000n, last: 0xfee0_2000n }], "EINVAL"],
    ["a reserved byte", [{ start: 0n, last: 0xfee0_0000n }], "EADDRINUSE"],
    ["a byte past the width", [{ start: 2n ** 47n, last: 2n ** 48n }], "EADDRINUSE"],
    ["parts of pages, in any order", [{ start: 0x1001n, last: 0x2001n }, { start: 1n, last: 0x1000n }], undefined],
    ["none, so that no place is left", [], undefined],
  ])("%s", (_what, ranges, code) => {
    const { iommufd, ioas } = open();
    expect([codeOf(() => { iommufd.allowIovas(ioas, ranges); }), codeOf(() => { iommufd.allowIovas(NOBODY, ranges); })]).toEqual([code, "ENOENT"]);
  });
});

// Linux drivers/iommu/iommufd/device.c: iommufd_access_pin_pages.
describe("pages for an access", () => {
  test.each(inOrder<{ readonly iova: bigint; readonly length: number; readonly write: boolean }>([
    ["no bytes", { length: 0 }, "EINVAL"],
    ["a wrap", { iova: TOP, length: 2 * PAGE }, "EOVERFLOW"],
    ["a part of a page", { iova: 0x10_0001n, length: 20 * PAGE }, "EINVAL"],
    ["writing what may be read", { iova: 0x10_0000n, write: true }, "EPERM"],
    ["memory that is not there", { iova: 0x11_0000n }, "EFAULT"],
    ["more than may be locked", { iova: 0x12_0000n, length: 12 * PAGE }, "ENOMEM"],
    ["a gap", { iova: 0x20_0000n, length: 2 * PAGE }, "ENOENT"],
    ["nothing", { iova: 0x30_0001n, length: 1 }, "ENOENT"],
  ]))("%s is refused before what comes after it", (_rule, request, code) => {
    const { iommufd, user } = open();
    const lazy = iommufd.allocateIoas();
    iommufd.map(lazy, { iova: 0x10_0000, vaddr: ABSENT, length: PAGE, readable: true, writable: false });
    iommufd.map(lazy, { iova: 0x11_0000, vaddr: ABSENT, length: 9 * PAGE, ...RW });
    iommufd.map(lazy, { iova: 0x12_0000, vaddr: 0, length: 9 * PAGE, ...RW });
    iommufd.map(lazy, { iova: 0x20_0000, vaddr: 0, length: PAGE, ...RW });
    const access = iommufd.createAccess(lazy, () => undefined);
    const { iova, length, write } = { iova: 0x20_0000n, length: PAGE, write: false, ...request };
    expect([codeOf(() => iommufd.holdPages(access, iova, length, write)), user.total]).toEqual([code, 4]);
  });
  test("reading wants the right to read", () => {
    const { iommufd, ioas } = open();
    const access = iommufd.createAccess(ioas, () => undefined);
    iommufd.map(ioas, { iova: 0, vaddr: 0, length: PAGE, readable: false, writable: true });
    expect([codeOf(() => iommufd.holdPages(access, 0, PAGE, false)), codeOf(() => iommufd.holdPages(access, 0, PAGE, true))]).toEqual(["EPERM", undefined]);
  });
  test("while an area is being unmapped, no access begins", () => {
    const { iommufd, ioas } = open();
    const codes: (string | undefined)[] = [];
    const access: number = iommufd.createAccess(ioas, () => { codes.push(codeOf(() => iommufd.holdPages(access, 0x20_0000, PAGE, false))); });
    iommufd.holdPages(access, 0x20_0000, PAGE, false);
    expect([codeOf(() => iommufd.unmap(ioas, 0x20_0000, 4 * PAGE)), new Set(codes)]).toEqual(["EDEADLK", new Set(["EINVAL"])]);
  });
  test("an access wants a space", () => {
    const { iommufd } = open();
    expect([() => iommufd.createAccess(NOBODY, () => undefined), () => iommufd.holdPages(NOBODY, 0, PAGE, false), () => { iommufd.destroyAccess(NOBODY); }].map(codeOf)).toEqual(["ENOENT", "ENOENT", "ENOENT"]);
  });
});
