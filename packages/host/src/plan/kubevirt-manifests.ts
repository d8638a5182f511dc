import type { HostFunction } from "../snapshot.ts";
import type { GuestDescription } from "./guest.ts";
import { nameOf } from "./host-evidence.ts";
import { yamlString } from "./quote.ts";

const digits = (value: number | undefined): string => (value ?? 0).toString(16).padStart(4, "0");
const resourceOf = ({ vendor, device }: HostFunction): string => `iommu-lab.local/pci-${digits(vendor)}-${digits(device)}`;

const functionsOf = ({ layout }: GuestDescription): HostFunction[] => [...layout.root, ...layout.ports.flatMap(({ functions }) => functions)].map(({ host }) => host);

/** Entries for the KubeVirt object: the feature gate without which it refuses host devices, and which of those that vfio-pci holds on the node guests may ask for. */
export const permittedDevices = (guest: GuestDescription): string => {
  const kinds = new Map(functionsOf(guest).map((f) => [resourceOf(f), f]));
  return `# Add these entries to the lists that the KubeVirt object of the cluster has already:
#   kubectl -n kubevirt edit kubevirt kubevirt
spec:
  configuration:
    developerConfiguration:
      featureGates:
        - HostDevices
    permittedHostDevices:
      pciHostDevices:
${[...kinds].map(([resource, { vendor, device }]) => `        - pciVendorSelector: ${yamlString(`${digits(vendor)}:${digits(device)}`.toUpperCase())}\n          resourceName: ${yamlString(resource)}\n`).join("")}`;
};

/** A virtual machine that asks for the functions. */
export const virtualMachine = (guest: GuestDescription): string => `apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata:
  name: ${yamlString(guest.name)}
spec:
  runStrategy: Manual
  template:
    spec:
      domain:
        machine:
          type: q35
        cpu:
          model: host-passthrough
          cores: ${guest.processors}
        memory:
          guest: ${yamlString(`${guest.memory}Mi`)}
${guest.hugepages ? "          hugepages:\n            pageSize: 2Mi\n" : ""}        firmware:
          bootloader:
            efi:
              secureBoot: false
${guest.hideHypervisor ? "        features:\n          kvm:\n            hidden: true\n          hyperv:\n            vendorid:\n              vendorid: passthrough\n" : ""}        devices:
          autoattachMemBalloon: false
${guest.ownDisplay ? "          autoattachGraphicsDevice: false\n" : ""}          disks:
            - name: system
              disk:
                bus: ${guest.os === "windows" ? "sata" : "virtio"}
          interfaces:
            - name: default
              masquerade: {}
          hostDevices:
${functionsOf(guest).map((f) => `            # ${nameOf(f)}\n            - name: ${yamlString(`pci-${nameOf(f).replace(/[:.]/g, "-")}`)}\n              deviceName: ${yamlString(resourceOf(f))}\n`).join("")}      networks:
        - name: default
          pod: {}
      volumes:
        - name: system
          persistentVolumeClaim:
            claimName: ${yamlString(`${guest.name}-system`)}
`;
