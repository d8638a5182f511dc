export { firstViolation, iommuDriverContract, type ContractBudget } from "./driver-contract.ts";
export { ContractViolation, type ContractCase, type DriverFeatures, type DriverRig } from "./driver-rig.ts";
export { runRandomHistory } from "./random-history.ts";
export { RandomSource } from "./random-source.ts";
