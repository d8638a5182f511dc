import { Access, NO_PASID } from "../transaction.ts";
import { contractCase, isBlocked, reaches, READ_WRITE, refused } from "./checks.ts";
import type { ContractCase, DriverFeatures, DriverRig } from "./driver-rig.ts";

const PAGE = 4096;
const hasPasids = ({ pasids }: DriverFeatures): boolean => pasids !== undefined;
const pasidsOf = ({ features }: DriverRig): readonly [number, number] => features.pasids ?? [1, 2];

/** Address spaces by PASID, and nested ones. */
export const PASID_CASES: readonly ContractCase[] = [
  contractCase("each PASID of a function has a domain of its own", (rig) => {
    const { driver, requesters: [requester] } = rig;
    const [one, other] = pasidsOf(rig);
    driver.start();
    const domains = [0x2000, 0x3000, 0x4000].map((frame) => {
      const domain = driver.createDomain({ kind: "paging" });
      domain.map(0x10 * PAGE, frame * PAGE, PAGE, READ_WRITE);
      return domain;
    });
    driver.attach(requester, domains[0]!);
    isBlocked(rig, requester, 0x10, Access.Read, one);
    driver.attach(requester, domains[1]!, one);
    driver.attach(requester, domains[2]!, other);
    reaches(rig, requester, 0x10, 0x2000);
    reaches(rig, requester, 0x10, 0x3000, Access.Write, one);
    reaches(rig, requester, 0x10, 0x4000, Access.Write, other);
    driver.detach(requester, one);
    isBlocked(rig, requester, 0x10, Access.Read, one);
    reaches(rig, requester, 0x10, 0x4000, Access.Read, other);
    driver.attach(requester, domains[2]!, one);
    reaches(rig, requester, 0x10, 0x4000, Access.Read, one);
    driver.detach(requester);
    isBlocked(rig, requester, 0x10);
    reaches(rig, requester, 0x10, 0x4000, Access.Read, one);
  }, hasPasids),
  contractCase("a domain behind several PASIDs loses a page for all of them", (rig) => {
    const { driver, requesters: [requester, another] } = rig;
    const [one, other] = pasidsOf(rig);
    driver.start();
    const domain = driver.createDomain({ kind: "paging" });
    domain.map(0x10 * PAGE, 0x2000 * PAGE, 4 * PAGE, READ_WRITE);
    const sources = [[requester, NO_PASID], [requester, one], [requester, other], [another, one]] as const;
    for (const [from, pasid] of sources) driver.attach(from, domain, pasid === NO_PASID ? undefined : pasid);
    for (const [from, pasid] of sources) reaches(rig, from, 0x11, 0x2001, Access.Read, pasid);
    domain.unmap(0x11 * PAGE, PAGE);
    domain.flush();
    for (const [from, pasid] of sources) {
      isBlocked(rig, from, 0x11, Access.Read, pasid);
      reaches(rig, from, 0x12, 0x2002, Access.Read, pasid);
    }
  }, hasPasids),
  contractCase("PASIDs that cannot be are refused", (rig) => {
    const { driver, requesters: [requester] } = rig;
    driver.start();
    const domain = driver.createDomain({ kind: "paging" });
    for (const pasid of [0, -1, 1.5, 2 ** 20]) refused(["EINVAL"], `Attaching PASID ${pasid}`, () => { driver.attach(requester, domain, pasid); });
    refused(["EINVAL"], "Detaching a PASID that nothing is attached to", () => { driver.detach(requester, pasidsOf(rig)[0]); });
  }, hasPasids),
  contractCase("without PASIDs they are refused", (rig) => {
    const { driver, requesters: [requester] } = rig;
    driver.start();
    const domain = driver.createDomain({ kind: "paging" });
    refused(["EOPNOTSUPP"], "Attaching a PASID", () => { driver.attach(requester, domain, 1); });
    isBlocked(rig, requester, 0x10, Access.Read, 1);
  }, (features) => !hasPasids(features)),
  contractCase("a nested domain goes through the guest's table and its parent", (rig) => {
    const { driver, requesters: [requester], scratch, memory } = rig;
    driver.start();
    const parent = driver.createDomain({ kind: "paging", nestingParent: true });
    // The guest's tables are at GPA 0x10_0000; one page each for levels 4 to 1.
    const gpa = 0x10_0000;
    parent.map(gpa, scratch, 4 * PAGE, READ_WRITE);
    parent.map(0x80 * PAGE, 0x7000 * PAGE, 2 * PAGE, READ_WRITE);
    for (let i = 0; i < 3; i++) memory.write64(scratch + i * PAGE, (gpa + (i + 1) * PAGE) | 7, 0);
    memory.write64(scratch + 3 * PAGE + 8 * 5, (0x80 * PAGE) | 7, 0);
    const nested = driver.createDomain({ kind: "nested", parent, table: gpa, levels: 4 });
    driver.attach(requester, nested);
    reaches(rig, requester, 5, 0x7000, Access.Write);
    isBlocked(rig, requester, 6);
    refused(["EOPNOTSUPP"], "Mapping in a nested domain", () => { nested.map(0, 0, PAGE, READ_WRITE); });
    refused(["EBUSY"], "Destroying a parent", () => { driver.destroyDomain(parent); });
    memory.write64(scratch + 3 * PAGE + 8 * 5, (0x81 * PAGE) | 7, 0);
    nested.flush();
    reaches(rig, requester, 5, 0x7001, Access.Write);
    parent.unmap(0x81 * PAGE, PAGE);
    parent.flush();
    isBlocked(rig, requester, 5);
    parent.map(0x81 * PAGE, 0x7abc * PAGE, PAGE, READ_WRITE);
    reaches(rig, requester, 5, 0x7abc);
    driver.detach(requester);
    isBlocked(rig, requester, 5);
    driver.destroyDomain(nested);
    driver.destroyDomain(parent);
  }, ({ nesting }) => nesting),
];
