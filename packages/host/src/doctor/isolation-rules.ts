import type { HostView } from "./host-view.ts";
import { fail, pass, seen, unknown, type HostRule, type Outcome } from "./rule.ts";

const checkOverride = (host: HostView): Outcome => {
  const option = host.option(/^pcie_acs_override=/);
  const said = host.log?.find(/PCIe ACS overrides enabled/);
  if (option || said) return fail([option, said], "pcie_acs_override= only splits the groups' labels: devices can still reach each other's memory behind the IOMMU's back. Take it away and use a slot with its own group.");
  return host.snapshot.commandLine === undefined ? unknown("/proc/cmdline") : pass(seen("proc/cmdline", "no pcie_acs_override=", 1));
};

const checkAcsOptions = (host: HostView): Outcome => {
  const option = host.option(/^pci=.*(?:disable_acs_redir|config_acs)=/);
  if (option) return fail(option, "This switches isolation off at some ports (peer-to-peer DMA): what is below them shares groups. Take it away for functions that are to be assigned.");
  return host.snapshot.commandLine === undefined ? unknown("/proc/cmdline") : pass(seen("proc/cmdline", "no pci=disable_acs_redir= or config_acs=", 1));
};

/** Options that change what groups mean. */
export const ISOLATION_RULES: readonly HostRule[] = [
  { about: "host", id: "GRP-008", title: "Isolation is the hardware's, not only claimed", severity: "error", check: checkOverride },
  { about: "host", id: "GRP-009", title: "No option takes isolation from ports", severity: "warning", check: checkAcsOptions },
];
