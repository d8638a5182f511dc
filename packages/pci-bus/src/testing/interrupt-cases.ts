import { DeliveryMode, type Interrupt } from "../interrupt.ts";
import type { IommuFault } from "../driver.ts";
import { check, contractCase, interrupt, refused, same, takeFaults } from "./checks.ts";
import type { ContractCase, DriverFeatures, DriverRig } from "./driver-rig.ts";

const fixed = (vector: number, destination: number): Interrupt => ({ vector, deliveryMode: DeliveryMode.Fixed, destination, destinationMode: "physical", trigger: "edge", redirectionHint: false });
const hasInterrupts = ({ interrupts }: DriverFeatures): boolean => interrupts;

const delivers = (rig: DriverRig, entry: { readonly message: Parameters<typeof interrupt>[1] }, expected: Interrupt): void => {
  const { delivered, fault } = interrupt(rig, entry.message);
  check(delivered.length === 1, () => `The interrupt was not delivered (fault ${fault}).`);
  for (const key of ["vector", "deliveryMode", "destination", "destinationMode", "trigger"] as const) same(delivered[0]?.[key], expected[key], `The interrupt's ${key}`);
};

/** Remapping entries. */
export const INTERRUPT_CASES: readonly ContractCase[] = [
  contractCase("an entry delivers what it was given, to its own function", (rig) => {
    const { driver, requesters: [first, second] } = rig;
    driver.start();
    const one = driver.allocateInterrupt(first, fixed(0x41, 3));
    const logical: Interrupt = { vector: 0x52, deliveryMode: DeliveryMode.LowestPriority, destination: 7, destinationMode: "logical", trigger: "edge", redirectionHint: true };
    const other = driver.allocateInterrupt(second, logical);
    delivers(rig, one, fixed(0x41, 3));
    delivers(rig, other, logical);
  }, hasInterrupts),
  contractCase("a function cannot use another's entry, and the attempt is recorded", (rig) => {
    const { driver, requesters: [first, second] } = rig;
    const faults: IommuFault[] = [];
    driver.start({ fault: (fault) => faults.push(fault) });
    const entry = driver.allocateInterrupt(first, fixed(0x41, 3));
    const { delivered, fault } = interrupt(rig, { ...entry.message, requester: second });
    same(delivered.length, 0, "Interrupts delivered to a forger");
    check(fault !== 0, () => "A forged interrupt has no fault code.");
    const [told, ...more] = takeFaults(driver, faults);
    same(more.length, 0, "Further faults told of");
    same(told?.requester, second, "The forger");
    delivers(rig, entry, fixed(0x41, 3));
  }, hasInterrupts),
  contractCase("a retargeted entry delivers to the new target at once", (rig) => {
    const { driver, requesters: [requester] } = rig;
    driver.start();
    const entry = driver.allocateInterrupt(requester, fixed(0x41, 3));
    delivers(rig, entry, fixed(0x41, 3));
    entry.retarget(fixed(0x99, 5));
    delivers(rig, entry, fixed(0x99, 5));
  }, hasInterrupts),
  contractCase("a freed entry delivers nothing, until it is somebody else's", (rig) => {
    const { driver, requesters: [first, second] } = rig;
    driver.start();
    const entry = driver.allocateInterrupt(first, fixed(0x41, 3));
    delivers(rig, entry, fixed(0x41, 3));
    entry.free();
    same(interrupt(rig, entry.message).delivered.length, 0, "Interrupts through a freed entry");
    refused(["EINVAL"], "Retargeting a freed entry", () => { entry.retarget(fixed(1, 1)); });
    refused(["EINVAL"], "Freeing an entry twice", () => { entry.free(); });
    const next = driver.allocateInterrupt(second, fixed(0x77, 1));
    delivers(rig, next, fixed(0x77, 1));
    same(interrupt(rig, entry.message).delivered.length, 0, "Interrupts through an entry that is another function's now");
  }, hasInterrupts),
  contractCase("interrupts without an entry are blocked", (rig) => {
    const { driver, requesters: [requester] } = rig;
    driver.start();
    driver.allocateInterrupt(requester, fixed(0x41, 3));
    same(interrupt(rig, { requester, address: 0xfee0_3000, data: 0x41 }).delivered.length, 0, "Interrupts in compatibility format");
  }, hasInterrupts),
  contractCase("impossible interrupts are refused", (rig) => {
    const { driver, requesters: [requester] } = rig;
    driver.start();
    for (const vector of [-1, 256, 1.5]) refused(["EINVAL"], `Vector ${vector}`, () => driver.allocateInterrupt(requester, fixed(vector, 0)));
    for (const destination of [-1, 2 ** 32]) refused(["ERANGE"], `APIC ID ${destination}`, () => driver.allocateInterrupt(requester, fixed(0x40, destination)));
  }, hasInterrupts),
  contractCase("entries survive stopping and starting", (rig) => {
    const { driver, requesters: [requester] } = rig;
    driver.start();
    const entry = driver.allocateInterrupt(requester, fixed(0x41, 3));
    driver.stop();
    entry.retarget(fixed(0x42, 4));
    driver.start();
    delivers(rig, entry, fixed(0x42, 4));
  }, hasInterrupts),
  contractCase("a posted entry updates memory instead of interrupting, and can be turned back", (rig) => {
    const { driver, requesters: [requester], features } = rig;
    driver.start();
    const structure = features.posting?.(rig) ?? 0;
    const entry = driver.allocateInterrupt(requester, fixed(0x41, 3));
    delivers(rig, entry, fixed(0x41, 3));
    entry.post(structure, 0x83, false);
    const { delivered, posted, fault } = interrupt(rig, entry.message);
    same(fault, 0, "Fault of a posted interrupt");
    same(delivered.length, 0, "Interrupts delivered by a posted entry");
    same(posted[0]?.structure, structure, "Where it was posted");
    same(posted[0]?.vector, 0x83, "The vector that was posted");
    entry.retarget(fixed(0x44, 2));
    delivers(rig, entry, fixed(0x44, 2));
  }, ({ posting }) => posting !== undefined),
];
