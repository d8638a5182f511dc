import { Access } from "../transaction.ts";
import { check, contractCase, isBlocked, reaches, READ_WRITE, refused, same } from "./checks.ts";
import type { IommuDomain } from "../driver.ts";
import type { ContractCase, DriverRig } from "./driver-rig.ts";

const PAGE = 4096;
/** Pages of 2 MiB and 1 GiB. */
const LARGE = 512;
const HUGE = 512 * 512;

const attached = (rig: DriverRig): IommuDomain => {
  rig.driver.start();
  const domain = rig.driver.createDomain({ kind: "paging" });
  rig.driver.attach(rig.requesters[0], domain);
  return domain;
};

/** Mapping, unmapping and flushing. */
export const MAPPING_CASES: readonly ContractCase[] = [
  contractCase("permissions are what was asked for", (rig) => {
    const domain = attached(rig);
    const [requester] = rig.requesters;
    domain.map(0x10 * PAGE, 0x2000 * PAGE, PAGE, Access.Read);
    domain.map(0x11 * PAGE, 0x2001 * PAGE, PAGE, READ_WRITE);
    isBlocked(rig, requester, 0x10, Access.Write);
    reaches(rig, requester, 0x10, 0x2000, Access.Read);
    reaches(rig, requester, 0x11, 0x2001, Access.Write);
    refused(["EINVAL"], "Mapping without any permission", () => { domain.map(0x12 * PAGE, 0x2002 * PAGE, PAGE, 0); });
    const writeOnly = (): void => { domain.map(0x13 * PAGE, 0x2003 * PAGE, PAGE, Access.Write); };
    if (!rig.features.writeOnly) refused(["EOPNOTSUPP"], "Mapping for writing only", writeOnly);
    else {
      writeOnly();
      isBlocked(rig, requester, 0x13, Access.Read);
      reaches(rig, requester, 0x13, 0x2003, Access.Write);
    }
  }),
  contractCase("a page that was refused before it was mapped is reached after", (rig) => {
    const domain = attached(rig);
    const [requester] = rig.requesters;
    for (const page of [0, 0x10, LARGE, HUGE + 5]) {
      isBlocked(rig, requester, page);
      domain.map(page * PAGE, (0x2000 + page) * PAGE, PAGE, READ_WRITE);
      reaches(rig, requester, page, 0x2000 + page);
    }
  }),
  contractCase("what is unmapped and flushed is not reached, what is beside it is", (rig) => {
    const domain = attached(rig);
    const [requester] = rig.requesters;
    domain.map(0x10 * PAGE, 0x2000 * PAGE, 8 * PAGE, READ_WRITE);
    for (let page = 0x10; page < 0x18; page++) reaches(rig, requester, page, 0x1ff0 + page);
    same(domain.unmap(0x12 * PAGE, 3 * PAGE), 3 * PAGE, "Bytes unmapped");
    domain.flush();
    for (let page = 0x10; page < 0x18; page++) {
      if (page >= 0x12 && page < 0x15) isBlocked(rig, requester, page);
      else reaches(rig, requester, page, 0x1ff0 + page);
    }
    same(domain.unmap(0x10 * PAGE, 8 * PAGE), 5 * PAGE, "Bytes unmapped of a range with a hole");
    same(domain.unmap(0x10 * PAGE, 8 * PAGE), 0, "Bytes unmapped of a range that is not mapped");
  }),
  contractCase("a page mapped anew is reached at once, also without a flush in between", (rig) => {
    const domain = attached(rig);
    const [requester] = rig.requesters;
    for (let round = 0; round < 4; round++) {
      domain.map(0x10 * PAGE, (0x2000 + round) * PAGE, PAGE, READ_WRITE);
      reaches(rig, requester, 0x10, 0x2000 + round);
      domain.unmap(0x10 * PAGE, PAGE);
    }
  }),
  contractCase("an area of large pages mapped anew in small ones is reached at once", (rig) => {
    const domain = attached(rig);
    const [requester] = rig.requesters;
    domain.map(0, 0x2000 * PAGE, 2 * LARGE * PAGE, READ_WRITE);
    for (const page of [0, LARGE + 7]) reaches(rig, requester, page, 0x2000 + page);
    domain.unmap(0, 2 * LARGE * PAGE);
    domain.map(7 * PAGE, 0x5001 * PAGE, PAGE, READ_WRITE);
    domain.map((LARGE + 7) * PAGE, 0x5002 * PAGE, PAGE, READ_WRITE);
    reaches(rig, requester, 7, 0x5001);
    reaches(rig, requester, LARGE + 7, 0x5002);
    domain.flush();
    isBlocked(rig, requester, LARGE + 8);
    domain.unmap(0, 2 * LARGE * PAGE);
    domain.map(0, 0x8000 * PAGE, 2 * LARGE * PAGE, READ_WRITE);
    for (const page of [7, LARGE + 7]) reaches(rig, requester, page, 0x8000 + page);
  }),
  contractCase("tables that were emptied page by page give way to a large page", (rig) => {
    const domain = attached(rig);
    const [requester] = rig.requesters;
    domain.map(7 * PAGE, 0x5000 * PAGE, PAGE, READ_WRITE);
    domain.map(9 * PAGE, 0x5001 * PAGE, PAGE, READ_WRITE);
    reaches(rig, requester, 7, 0x5000);
    domain.unmap(7 * PAGE, PAGE);
    domain.unmap(9 * PAGE, PAGE);
    domain.flush();
    domain.map(0, 0x2000 * PAGE, LARGE * PAGE, READ_WRITE);
    for (const page of [7, 8, 9]) reaches(rig, requester, page, 0x2000 + page);
  }),
  contractCase("part of a large page is unmapped, the rest stays", (rig) => {
    const domain = attached(rig);
    const [requester] = rig.requesters;
    domain.map(LARGE * PAGE, 0x2000 * PAGE, 2 * LARGE * PAGE, Access.Read);
    for (const page of [LARGE, LARGE + 5, 2 * LARGE]) reaches(rig, requester, page, 0x2000 + page - LARGE);
    same(domain.unmap((LARGE + 5) * PAGE, PAGE), PAGE, "Bytes unmapped of a large page");
    reaches(rig, requester, LARGE + 6, 0x2006);
    domain.flush();
    isBlocked(rig, requester, LARGE + 5);
    for (const page of [LARGE, LARGE + 4, LARGE + 6, 2 * LARGE, 3 * LARGE - 1]) {
      reaches(rig, requester, page, 0x2000 + page - LARGE);
      isBlocked(rig, requester, page, Access.Write);
    }
    domain.map((LARGE + 5) * PAGE, 0x9000 * PAGE, PAGE, READ_WRITE);
    reaches(rig, requester, LARGE + 5, 0x9000, Access.Write);
  }),
  contractCase("a range across many borders of large pages is unmapped exactly", (rig) => {
    const domain = attached(rig);
    const [requester] = rig.requesters;
    domain.map(0, 0x4000 * PAGE, 4 * LARGE * PAGE, READ_WRITE);
    for (let page = 0; page < 4 * LARGE; page += 100) reaches(rig, requester, page, 0x4000 + page);
    same(domain.unmap(100 * PAGE, 3 * LARGE * PAGE), 3 * LARGE * PAGE, "Bytes unmapped");
    domain.flush();
    for (let page = 0; page < 4 * LARGE; page += 33) {
      if (page < 100 || page >= 100 + 3 * LARGE) reaches(rig, requester, page, 0x4000 + page);
      else isBlocked(rig, requester, page);
    }
  }),
  contractCase("a gigabyte is mapped and split like less", (rig) => {
    const domain = attached(rig);
    const [requester] = rig.requesters;
    if (!domain.pageSizes.includes(2 ** 21)) return;
    domain.map(HUGE * PAGE, 0, HUGE * PAGE, READ_WRITE);
    for (const page of [HUGE, HUGE + 12_345]) reaches(rig, requester, page, page - HUGE);
    same(domain.unmap((HUGE + 12_345) * PAGE, PAGE), PAGE, "Bytes unmapped of a gigabyte");
    domain.flush();
    isBlocked(rig, requester, HUGE + 12_345);
    for (const page of [HUGE, HUGE + 12_344, HUGE + 12_346, HUGE + 100_000]) reaches(rig, requester, page, page - HUGE);
    same(domain.unmap(HUGE * PAGE, HUGE * PAGE), (HUGE - 1) * PAGE, "Bytes unmapped of what is left");
    domain.flush();
    isBlocked(rig, requester, HUGE);
  }),
  contractCase("large pages need no more than one entry", (rig) => {
    const domain = attached(rig);
    check(domain.pageSizes[0] === PAGE && [...domain.pageSizes].sort((a, b) => a - b).every((size, i) => size === domain.pageSizes[i]), () => `Page sizes ${domain.pageSizes.join(", ")} are not ascending from 4096.`);
    if (!domain.pageSizes.includes(2 ** 21)) return;
    domain.map(0, 0, LARGE * PAGE, READ_WRITE);
    const before = rig.framesInUse();
    domain.map(LARGE * PAGE, LARGE * PAGE, 64 * LARGE * PAGE, READ_WRITE);
    same(rig.framesInUse() - before, 0, "Frames for 64 large pages beside another");
  }),
  contractCase("mapping what is mapped is refused and changes nothing", (rig) => {
    const domain = attached(rig);
    const [requester] = rig.requesters;
    domain.map(0x18 * PAGE, 0x2000 * PAGE, PAGE, READ_WRITE);
    refused(["EEXIST"], "Mapping over a page", () => { domain.map(0x10 * PAGE, 0x3000 * PAGE, 16 * PAGE, READ_WRITE); });
    for (const page of [0x10, 0x17, 0x19]) {
      isBlocked(rig, requester, page);
      same(domain.lookup(page * PAGE), undefined, `What the tables say of page ${page}`);
    }
    reaches(rig, requester, 0x18, 0x2000);
    domain.map(LARGE * PAGE, 0x4000 * PAGE, LARGE * PAGE, READ_WRITE);
    refused(["EEXIST"], "Mapping inside a large page", () => { domain.map((LARGE + 9) * PAGE, 0x3000 * PAGE, PAGE, READ_WRITE); });
    refused(["EEXIST"], "Mapping a large page over a small one", () => { domain.map(0, 0x6000 * PAGE, LARGE * PAGE, READ_WRITE); });
    reaches(rig, requester, LARGE + 9, 0x4009);
  }),
  contractCase("what cannot be mapped is refused with the reason's code", (rig) => {
    const domain = attached(rig);
    const end = 2n ** BigInt(rig.features.addressWidth);
    // Where IOVAs have all 64 bits, an address past them is none.
    const past = rig.features.addressWidth < 64 ? "ERANGE" : "EINVAL";
    const misaligned: readonly [number | bigint, number, number][] = [[1, 0, PAGE], [0x800n, 0, PAGE], [0, 0x10, PAGE], [0, 0, 100], [0, 0, 0], [0, 0, -PAGE], [-PAGE, 0, PAGE], [Number.NaN, 0, PAGE], [0, Number.NaN, PAGE], [2 ** 60 + 0.5, 0, PAGE]];
    for (const [iova, hpa, size] of misaligned) refused(["EINVAL"], `Mapping ${size} bytes of IOVA ${iova} to HPA ${hpa}`, () => { domain.map(iova, hpa, size, READ_WRITE); });
    // Past 2^53 numbers are no addresses, whatever the width.
    const ends = end > 2n ** 53n && end < 2n ** 64n ? [end] : [Number(end), end];
    for (const iova of ends) refused([past], `Mapping past the address width at ${iova}`, () => { domain.map(iova, 0x1000, 2 * PAGE, READ_WRITE); });
    for (const iova of [end - 0x1000n, 0xffff_ffff_ffff_f000n]) refused(["ERANGE"], `Mapping past the address width at ${iova}`, () => { domain.map(iova, 0x1000, 2 * PAGE, READ_WRITE); });
    refused(["ERANGE"], "Mapping to past the physical addresses", () => { domain.map(0, 2 ** 52, PAGE, READ_WRITE); });
    refused(["EINVAL"], "Unmapping half a page", () => domain.unmap(0x800, PAGE));
    refused([past], "Unmapping past the address width", () => domain.unmap(end, PAGE));
    refused(["ERANGE"], "Unmapping across the address width", () => domain.unmap(end - 0x1000n, 2 * PAGE));
  }),
  contractCase("the last page of the address width can be mapped, by a number or a bigint", (rig) => {
    const domain = attached(rig);
    const [requester] = rig.requesters;
    const last = 2 ** (rig.features.addressWidth - 12) - 1;
    domain.map(BigInt(last) * 4096n, 0x2000 * PAGE, PAGE, READ_WRITE);
    reaches(rig, requester, last, 0x2000);
    same(domain.lookup(BigInt(last) * 4096n + 0x123n), 0x2000 * PAGE + 0x123, "What the tables say of a byte in the last page");
    same(domain.unmap(BigInt(last) * 4096n, PAGE), PAGE, "Bytes unmapped");
    domain.flush();
    isBlocked(rig, requester, last);
  }),
  contractCase("a domain can be made narrower than the hardware", (rig) => {
    const { driver, requesters } = rig;
    driver.start();
    const domain = driver.createDomain({ kind: "paging", addressWidth: 32 });
    driver.attach(requesters[0], domain);
    domain.map(0xffff_f000, 0x2000 * PAGE, PAGE, READ_WRITE);
    reaches(rig, requesters[0], 0xf_ffff, 0x2000);
    refused(["ERANGE"], "Mapping past 32 bits", () => { domain.map(2 ** 32, 0x2000 * PAGE, PAGE, READ_WRITE); });
    refused(["EINVAL"], "A domain of 100 bits", () => { driver.createDomain({ kind: "paging", addressWidth: 100 }); });
  }),
  contractCase("many scattered pages go with one flush", (rig) => {
    const domain = attached(rig);
    const [requester] = rig.requesters;
    for (let i = 0; i < 300; i++) {
      domain.map(i * 77 * PAGE, (0x2000 + i) * PAGE, PAGE, READ_WRITE);
      reaches(rig, requester, i * 77, 0x2000 + i);
    }
    for (let i = 0; i < 300; i += 2) domain.unmap(i * 77 * PAGE, PAGE);
    domain.flush();
    for (let i = 0; i < 300; i++) {
      if (i % 2 === 0) isBlocked(rig, requester, i * 77);
      else reaches(rig, requester, i * 77, 0x2000 + i);
    }
  }),
];
