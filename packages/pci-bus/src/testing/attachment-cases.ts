import { Access } from "../transaction.ts";
import { check, contractCase, dma, isBlocked, reaches, READ_WRITE, refused } from "./checks.ts";
import type { ContractCase } from "./driver-rig.ts";

const PAGE = 4096;

/** Functions and domains: who reaches what. */
export const ATTACHMENT_CASES: readonly ContractCase[] = [
  contractCase("a function that nothing is attached to is blocked", (rig) => {
    rig.driver.start();
    for (const requester of rig.requesters) for (const access of [Access.Read, Access.Write]) isBlocked(rig, requester, 0x10, access);
  }),
  contractCase("an attached function reaches what its domain maps, and nothing else", (rig) => {
    const { driver, requesters } = rig;
    driver.start();
    const domain = driver.createDomain({ kind: "paging" });
    isBlocked(rig, requesters[0], 0x10);
    domain.map(0x10 * PAGE, 0x2000 * PAGE, PAGE, READ_WRITE);
    driver.attach(requesters[0], domain);
    reaches(rig, requesters[0], 0x10, 0x2000, Access.Write);
    isBlocked(rig, requesters[0], 0x11);
    isBlocked(rig, requesters[1], 0x10);
  }),
  contractCase("what was attached before the start works after it", (rig) => {
    const { driver, requesters } = rig;
    const domain = driver.createDomain({ kind: "paging" });
    domain.map(0x10 * PAGE, 0x2000 * PAGE, PAGE, READ_WRITE);
    driver.attach(requesters[0], domain);
    driver.start();
    reaches(rig, requesters[0], 0x10, 0x2000);
  }),
  contractCase("functions of one domain see the same mappings, and lose them together", (rig) => {
    const { driver, requesters } = rig;
    driver.start();
    const domain = driver.createDomain({ kind: "paging" });
    driver.attach(requesters[0], domain);
    driver.attach(requesters[1], domain);
    domain.map(0x40 * PAGE, 0x3000 * PAGE, 2 * PAGE, READ_WRITE);
    for (const requester of [requesters[0], requesters[1]]) reaches(rig, requester, 0x41, 0x3001);
    domain.unmap(0x41 * PAGE, PAGE);
    domain.flush();
    for (const requester of [requesters[0], requesters[1]]) {
      isBlocked(rig, requester, 0x41);
      reaches(rig, requester, 0x40, 0x3000);
    }
  }),
  contractCase("a detached function is blocked at once, and the others are not", (rig) => {
    const { driver, requesters } = rig;
    driver.start();
    const domain = driver.createDomain({ kind: "paging" });
    domain.map(0x10 * PAGE, 0x2000 * PAGE, PAGE, READ_WRITE);
    driver.attach(requesters[0], domain);
    driver.attach(requesters[1], domain);
    for (const requester of [requesters[0], requesters[1]]) reaches(rig, requester, 0x10, 0x2000);
    driver.detach(requesters[0]);
    isBlocked(rig, requesters[0], 0x10);
    reaches(rig, requesters[1], 0x10, 0x2000);
    refused(["EINVAL"], "Detaching a function twice", () => { driver.detach(requesters[0]); });
  }),
  contractCase("a function moved to another domain reaches nothing of the old one", (rig) => {
    const { driver, requesters } = rig;
    driver.start();
    const [first, second] = [driver.createDomain({ kind: "paging" }), driver.createDomain({ kind: "paging" })];
    first.map(0x10 * PAGE, 0x2000 * PAGE, 2 * PAGE, READ_WRITE);
    second.map(0x10 * PAGE, 0x5000 * PAGE, PAGE, READ_WRITE);
    driver.attach(requesters[0], first);
    for (const page of [0x10, 0x11]) reaches(rig, requesters[0], page, 0x2000 + page - 0x10);
    driver.attach(requesters[0], second);
    reaches(rig, requesters[0], 0x10, 0x5000);
    isBlocked(rig, requesters[0], 0x11);
  }),
  contractCase("a domain made after another was destroyed inherits nothing, not even from caches", (rig) => {
    const { driver, requesters } = rig;
    driver.start();
    for (let round = 0; round < 3; round++) {
      const domain = driver.createDomain({ kind: "paging" });
      driver.attach(requesters[0], domain);
      for (let page = 0x10; page < 0x13; page++) isBlocked(rig, requesters[0], page);
      domain.map((0x10 + round) * PAGE, (0x2000 + round) * PAGE, PAGE, READ_WRITE);
      reaches(rig, requesters[0], 0x10 + round, 0x2000 + round);
      driver.detach(requesters[0]);
      driver.destroyDomain(domain);
    }
  }),
  contractCase("an identity domain lets a function reach all memory, and moving away ends that", (rig) => {
    const { driver, requesters } = rig;
    driver.start();
    const domain = driver.createDomain({ kind: "identity" });
    driver.attach(requesters[0], domain);
    for (const page of [0x10, 0x123]) reaches(rig, requesters[0], page, page, Access.Write);
    isBlocked(rig, requesters[1], 0x10);
    refused(["EOPNOTSUPP"], "Mapping in an identity domain", () => { domain.map(0x10 * PAGE, 0, PAGE, READ_WRITE); });
    driver.attach(requesters[0], driver.createDomain({ kind: "paging" }));
    isBlocked(rig, requesters[0], 0x10);
  }),
  contractCase("a blocked domain blocks, also what had access before", (rig) => {
    const { driver, requesters } = rig;
    driver.start();
    const [domain, blocked] = [driver.createDomain({ kind: "paging" }), driver.createDomain({ kind: "blocked" })];
    domain.map(0x10 * PAGE, 0x2000 * PAGE, PAGE, READ_WRITE);
    driver.attach(requesters[0], domain);
    reaches(rig, requesters[0], 0x10, 0x2000);
    driver.attach(requesters[0], blocked);
    isBlocked(rig, requesters[0], 0x10);
    refused(["EBUSY"], "Destroying a blocked domain in use", () => { driver.destroyDomain(blocked); });
    driver.attach(requesters[0], domain);
    reaches(rig, requesters[0], 0x10, 0x2000);
  }),
  contractCase("a domain in use cannot be destroyed, and a destroyed one cannot be attached", (rig) => {
    const { driver, requesters } = rig;
    driver.start();
    const domain = driver.createDomain({ kind: "paging" });
    driver.attach(requesters[0], domain);
    refused(["EBUSY"], "Destroying a domain in use", () => { driver.destroyDomain(domain); });
    driver.detach(requesters[0]);
    driver.destroyDomain(domain);
    refused(["EINVAL"], "Attaching a destroyed domain", () => { driver.attach(requesters[0], domain); });
    isBlocked(rig, requesters[0], 0x10);
  }),
  contractCase("stopping and starting again brings attachments back, with nothing stale", (rig) => {
    const { driver, requesters } = rig;
    driver.start();
    refused(["EBUSY"], "Starting twice", () => { driver.start(); });
    const domain = driver.createDomain({ kind: "paging" });
    driver.attach(requesters[0], domain);
    domain.map(0x10 * PAGE, 0x2000 * PAGE, 2 * PAGE, READ_WRITE);
    for (const page of [0x10, 0x11]) reaches(rig, requesters[0], page, 0x2000 + page - 0x10);
    driver.stop();
    domain.unmap(0x11 * PAGE, PAGE);
    domain.flush();
    driver.start();
    reaches(rig, requesters[0], 0x10, 0x2000);
    isBlocked(rig, requesters[0], 0x11);
    isBlocked(rig, requesters[1], 0x10);
  }),
  contractCase("the driver starts on hardware that was reset", (rig) => {
    const { driver, requesters } = rig;
    const domain = driver.createDomain({ kind: "paging" });
    domain.map(0x10 * PAGE, 0x2000 * PAGE, PAGE, READ_WRITE);
    driver.start();
    driver.attach(requesters[0], domain);
    driver.stop();
    rig.iommu.reset("cold");
    driver.start();
    reaches(rig, requesters[0], 0x10, 0x2000);
    domain.unmap(0x10 * PAGE, PAGE);
    domain.flush();
    isBlocked(rig, requesters[0], 0x10);
  }),
  contractCase("a stopped IOMMU translates nothing", (rig) => {
    const { driver, requesters } = rig;
    driver.start();
    isBlocked(rig, requesters[0], 0x10);
    driver.stop();
    const outcome = dma(rig, requesters[0], 0x10);
    check(outcome.ok && outcome.page === 0x10, () => "With the driver stopped, DMA goes where its address says.");
  }),
  contractCase("frames of tables come back when domains go", (rig) => {
    const { driver, requesters } = rig;
    driver.start();
    const round = (): number => {
      const domain = driver.createDomain({ kind: "paging" });
      for (const requester of requesters) driver.attach(requester, domain);
      domain.map(0, 0x1000 * PAGE, 0x600 * PAGE, READ_WRITE);
      domain.unmap(0x10 * PAGE, 0x500 * PAGE);
      domain.flush();
      for (const requester of requesters) driver.detach(requester);
      driver.destroyDomain(domain);
      return rig.framesInUse();
    };
    const before = round();
    const after = round();
    check(before === after, () => `${after - before} frames were not given back.`);
  }),
];
