import type { IommuFault } from "../driver.ts";
import { Access, NO_PASID } from "../transaction.ts";
import { check, contractCase, isBlocked, READ_WRITE, same, takeFaults } from "./checks.ts";
import type { ContractCase } from "./driver-rig.ts";

const PAGE = 4096;

/** What the driver tells of faults. */
export const FAULT_CASES: readonly ContractCase[] = [
  contractCase("a refused DMA is told of once, with who, where and how", (rig) => {
    const { driver, requesters: [requester], features } = rig;
    const faults: IommuFault[] = [];
    driver.start({ fault: (fault) => faults.push(fault) });
    const domain = driver.createDomain({ kind: "paging" });
    driver.attach(requester, domain);
    domain.map(0x10 * PAGE, 0x2000 * PAGE, PAGE, Access.Read);
    for (const [page, access] of [[0x10, Access.Write], [0x1_2345, Access.Read], [0x1_2345, Access.Write]] as const) {
      isBlocked(rig, requester, page, access);
      const [told, ...more] = takeFaults(driver, faults);
      check(told !== undefined && more.length === 0, () => `One refused access was told of ${told === undefined ? 0 : more.length + 1} times.`);
      same(told.requester, requester, "The fault's requester");
      same(told.pasid, NO_PASID, "The fault's PASID");
      same(told.address >> 12n, BigInt(page), "The fault's page");
      same(told.access & READ_WRITE, page === 0x10 || features.absentAccess ? access : 0, "The fault's access");
      check(told.code !== 0 && told.text.length > 3, () => "The fault has no code or no text.");
    }
    same(takeFaults(driver, faults).length, 0, "Faults told of again");
  }),
  contractCase("faults come in their order, also when recording wraps round", (rig) => {
    const { driver, requesters: [requester, another], features } = rig;
    const faults: IommuFault[] = [];
    driver.start({ fault: (fault) => faults.push(fault) });
    const domain = driver.createDomain({ kind: "paging" });
    driver.attach(requester, domain);
    driver.attach(another, domain);
    for (let round = 0; round < 5; round++) {
      const count = 1 + ((round * 3 + 2) % features.faults);
      for (let i = 0; i < count; i++) isBlocked(rig, i % 2 === 0 ? requester : another, 0x100 * round + i);
      const told = takeFaults(driver, faults);
      same(told.length, count, "Faults told of");
      for (const [i, fault] of told.entries()) {
        same(fault.address >> 12n, BigInt(0x100 * round + i), `Page of fault ${i}`);
        same(fault.requester, i % 2 === 0 ? requester : another, `Requester of fault ${i}`);
      }
    }
  }),
  contractCase("after more faults than are kept, later ones are told of again", (rig) => {
    const { driver, requesters: [requester], features } = rig;
    const faults: IommuFault[] = [];
    driver.start({ fault: (fault) => faults.push(fault) });
    for (let i = 0; i < features.faults + 5; i++) isBlocked(rig, requester, i);
    check(takeFaults(driver, faults).length >= 1, () => "Of many faults none was told of.");
    takeFaults(driver, faults);
    isBlocked(rig, requester, 0x777);
    same(takeFaults(driver, faults).length, 1, "Faults told of after the overflow");
  }),
  contractCase("a fault of a PASID names it", (rig) => {
    const { driver, requesters: [requester], features } = rig;
    const faults: IommuFault[] = [];
    driver.start({ fault: (fault) => faults.push(fault) });
    const pasid = features.pasids?.[0] ?? 1;
    driver.attach(requester, driver.createDomain({ kind: "paging" }), pasid);
    isBlocked(rig, requester, 0x10, Access.Write, pasid);
    same(takeFaults(driver, faults)[0]?.pasid, pasid, "The fault's PASID");
  }, ({ pasids }) => pasids !== undefined),
  contractCase("a driver without callbacks serves all the same", (rig) => {
    const { driver, requesters: [requester] } = rig;
    driver.service();
    driver.start();
    isBlocked(rig, requester, 0x10);
    driver.service();
    driver.stop();
    driver.service();
  }),
];
