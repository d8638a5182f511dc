import { bit, bits, layout } from "@iommu-lab/memory/layout";
import { register } from "../config/register.ts";
import type { CapabilityDefinition, FieldValues } from "./definition.ts";
import { capabilityImage, type CapabilityImage, type Placement } from "./image.ts";

/** Length of the capability in bytes. PCI Advanced Capabilities ECN. */
export const AF_LENGTH = layout("AF Length", 8, "Advanced Capabilities ECN", { Length: bits(7, 0, "6") });

/** What the function can do. PCI Advanced Capabilities ECN. */
export const AF_CAPABILITIES = layout("AF Capabilities", 8, "Advanced Capabilities ECN", {
  TransactionsPending: bit(0, "Has the status bit of that name"),
  FunctionLevelReset: bit(1, "Can be reset alone"),
});

/** Starts a function-level reset. PCI Advanced Capabilities ECN. */
export const AF_CONTROL = layout("AF Control", 8, "Advanced Capabilities ECN", { InitiateFLR: bit(0, "Writing one resets the function; reads as zero") });

/** Whether requests are outstanding. PCI Advanced Capabilities ECN. */
export const AF_STATUS = layout("AF Status", 8, "Advanced Capabilities ECN", { TransactionsPending: bit(0, "Non-posted requests wait for completions") });

const registers = { Length: register(2, AF_LENGTH), Capabilities: register(3, AF_CAPABILITIES), Control: register(4, AF_CONTROL), Status: register(5, AF_STATUS) };
const shape = { id: 0x13, extended: false, length: 6, registers };

/** Advanced Features capability (id 0x13): function-level reset for conventional functions. By default both features are there. */
export const advancedFeatures = (values: { readonly Capabilities?: FieldValues<typeof AF_CAPABILITIES>; readonly Status?: FieldValues<typeof AF_STATUS> } = {}, placement?: Placement): CapabilityImage =>
  capabilityImage(shape, { Length: { Length: 6 }, Capabilities: { TransactionsPending: 1, FunctionLevelReset: 1, ...values.Capabilities }, ...(values.Status ? { Status: values.Status } : {}) }, placement);

/** How to read an Advanced Features capability. */
export const ADVANCED_FEATURES: CapabilityDefinition = { id: 0x13, extended: false, shape: () => shape };
