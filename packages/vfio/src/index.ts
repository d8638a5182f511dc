export { VfioError, type VfioContainer, type VfioDevice, type VfioGroup, type VfioRegion } from "./interfaces.ts";
