import type { Entry } from "../../text/words.ts";

/** An attack: which scenario plays it, and which protection stands against it. */
export interface Lab {
  readonly id: string;
  readonly scenario: string;
  /** The defender's switch. */
  readonly protection: string;
  /** The attacker, where one function is. */
  readonly attacker: string;
  readonly title: Entry;
  /** What the attacker does. */
  readonly attack: Entry;
  /** What the defender does. */
  readonly defence: Entry;
  /** A question to answer before looking, and its answer. */
  readonly question: Entry;
  readonly answer: Entry;
}

/** Every lab, the plainest first. Each is a model: real devices and firmware have more ways. */
export const LABS: readonly Lab[] = [
  {
    id: "rogue-dma",
    scenario: "rogue-device",
    protection: "translation",
    attacker: "0000:01:00.0",
    title: ["Rogue DMA", "DMA hostil", "恶意 DMA"],
    attack: ["A card writes over a page of the kernel and reads a secret, by bus-master cycles that no processor sees.", "Una tarjeta sobrescribe una página del kernel y lee un secreto con ciclos de bus que ningún procesador ve.", "一张卡用处理器看不到的总线主控周期覆写内核的一页并读取机密。"],
    defence: ["The kernel gives each group its own page tables: what is not mapped cannot be reached.", "El kernel da a cada grupo sus propias tablas de páginas: lo que no está asignado no se alcanza.", "内核给每个组自己的页表：未映射的就无法到达。"],
    question: ["With iommu=pt the IOMMU is on. Does it stop this card?", "Con iommu=pt el IOMMU está activo. ¿Detiene a esta tarjeta?", "使用 iommu=pt 时 IOMMU 是开着的。它能阻止这张卡吗？"],
    answer: ["No: the host's own devices get an identity domain, so that every address of memory is theirs. Only devices given to a VM are confined.", "No: los dispositivos del anfitrión reciben un dominio identidad y alcanzan toda la memoria. Solo quedan confinados los cedidos a una VM.", "不能：主机自己的设备得到恒等域，可访问全部内存。只有交给虚拟机的设备才受限制。"],
  },
  {
    id: "peer-to-peer",
    scenario: "two-bdf-two-domains",
    protection: "acs",
    attacker: "0000:03:00.0",
    title: ["Past the IOMMU: peer-to-peer and ACS", "Esquivando el IOMMU: peer-to-peer y ACS", "绕过 IOMMU：点对点与 ACS"],
    attack: ["A card writes to its neighbour's BAR. A switch without ACS turns the request round below the root port: the IOMMU never sees it.", "Una tarjeta escribe en la BAR de su vecina. Un conmutador sin ACS devuelve la petición por debajo del puerto raíz: el IOMMU nunca la ve.", "一张卡写入相邻卡的 BAR。没有 ACS 的交换机在根端口之下就把请求转回：IOMMU 根本看不到。"],
    defence: ["ACS Request Redirect sends every request up to the root complex; without it, both cards are one group.", "ACS Request Redirect envía toda petición al complejo raíz; sin él, ambas tarjetas forman un grupo.", "ACS 请求重定向把每个请求送往根联合体；没有它，两张卡同属一组。"],
    question: ["pcie_acs_override=downstream splits the group. Does it stop the write?", "pcie_acs_override=downstream separa el grupo. ¿Impide la escritura?", "pcie_acs_override=downstream 会拆分分组。它能阻止写入吗？"],
    answer: ["No. It makes the kernel believe in isolation that the hardware does not have: the write still goes through.", "No. Hace creer al kernel en un aislamiento que el hardware no tiene: la escritura sigue pasando.", "不能。它让内核相信硬件并不具备的隔离：写入依然会成功。"],
  },
  {
    id: "requester-id",
    scenario: "two-bdf-two-domains",
    protection: "domain-each",
    attacker: "0000:02:00.0",
    title: ["Who is asking? Requester IDs", "¿Quién pregunta? Requester ID", "谁在请求？请求者 ID"],
    attack: ["Two cards use the same IOVA. If both requester IDs lead to one domain, the second card reads the first one's memory.", "Dos tarjetas usan la misma IOVA. Si ambos requester ID llevan al mismo dominio, la segunda lee la memoria de la primera.", "两张卡使用相同的 IOVA。若两个请求者 ID 指向同一个域，第二张卡就会读到第一张的内存。"],
    defence: ["Each requester ID has its own context entry or device table entry, and a domain of its own.", "Cada requester ID tiene su propia entrada de contexto o de tabla de dispositivos y un dominio propio.", "每个请求者 ID 都有自己的上下文条目或设备表条目，以及自己的域。"],
    question: ["Two cards are behind a bridge to conventional PCI. Can they be told apart?", "Dos tarjetas están tras un puente a PCI convencional. ¿Se pueden distinguir?", "两张卡位于通往传统 PCI 的桥之后。能区分它们吗？"],
    answer: ["No: their requests carry the bridge's requester ID. They are one group, both or neither.", "No: sus peticiones llevan el requester ID del puente. Son un solo grupo, ambas o ninguna.", "不能：它们的请求带的是桥的请求者 ID。它们同属一组，要么都给，要么都不给。"],
  },
  {
    id: "msi-forging",
    scenario: "msi-forgery",
    protection: "interrupt-remapping",
    attacker: "0000:01:00.0",
    title: ["Forged interrupts", "Interrupciones falsificadas", "伪造的中断"],
    attack: ["A message-signalled interrupt is a memory write to 0xfeexxxxx. A card writes there with a vector of its choice: system calls, start-up messages, exceptions.", "Una interrupción MSI es una escritura en 0xfeexxxxx. Una tarjeta escribe allí el vector que quiera: llamadas al sistema, mensajes de arranque, excepciones.", "MSI 就是对 0xfeexxxxx 的内存写入。一张卡用自选的向量写到那里：系统调用、启动消息、异常。"],
    defence: ["With interrupt remapping the message only names an entry of a table; the entry says vector and destination, and who may use it.", "Con remapeo de interrupciones el mensaje solo nombra una entrada de una tabla; la entrada fija vector, destino y quién puede usarla.", "启用中断重映射后，消息只指明表中的一个条目；条目规定向量、目的地以及谁可以使用。"],
    question: ["DMA remapping is on, interrupt remapping off. Does the IOMMU stop the write to 0xfee00000?", "El remapeo de DMA está activo, el de interrupciones no. ¿Detiene el IOMMU la escritura en 0xfee00000?", "DMA 重映射开启而中断重映射关闭。IOMMU 会阻止对 0xfee00000 的写入吗？"],
    answer: ["No: the interrupt range is not translated (VT-d §3.14). That is why VFIO refuses assignment without interrupt remapping unless told that this is unsafe.", "No: el rango de interrupciones no se traduce (VT-d §3.14). Por eso VFIO rechaza la asignación sin remapeo de interrupciones salvo que se le diga que es inseguro.", "不会：中断地址范围不做转换（VT-d §3.14）。因此若没有中断重映射，除非明确声明不安全，VFIO 会拒绝分配。"],
  },
  {
    id: "stale-iotlb",
    scenario: "strict-lazy-pt",
    protection: "strict",
    attacker: "0000:01:00.0",
    title: ["The stale window", "La ventana obsoleta", "过期窗口"],
    attack: ["A page is unmapped and given to somebody else; the card looks once more, through the translation that the IOTLB still has.", "Una página se desasigna y pasa a otro dueño; la tarjeta mira una vez más con la traducción que aún guarda la IOTLB.", "一页被解除映射并交给别人；这张卡利用 IOTLB 里仍保留的转换再看一眼。"],
    defence: ["Strict mode waits for the invalidation before the page is given away.", "El modo estricto espera la invalidación antes de entregar la página.", "严格模式在页面交出之前等待失效完成。"],
    question: ["Lazy mode frees many pages with one invalidation. What does that cost in safety?", "El modo perezoso libera muchas páginas con una invalidación. ¿Qué cuesta en seguridad?", "延迟模式用一次失效释放许多页。它在安全上的代价是什么？"],
    answer: ["Until the queue is flushed, every page in it can still be reached: a window of a few milliseconds, open all the time.", "Hasta vaciar la cola, toda página en ella sigue siendo alcanzable: una ventana de milisegundos, siempre abierta.", "在队列刷新之前，其中每一页都仍可到达：一个持续存在的几毫秒窗口。"],
  },
  {
    id: "ats-spoof",
    scenario: "ats-stale",
    protection: "device-tlb-invalidation",
    attacker: "0000:01:00.0",
    title: ["A card that keeps translations", "Una tarjeta que guarda traducciones", "保存转换的卡"],
    attack: ["With ATS a card translates for itself and sends translated addresses, which the IOMMU lets pass. It keeps an old one.", "Con ATS una tarjeta traduce por sí misma y envía direcciones ya traducidas, que el IOMMU deja pasar. Conserva una vieja.", "有了 ATS，卡自行转换并发送已转换的地址，IOMMU 会放行。它保留了一个旧的。"],
    defence: ["The kernel invalidates the device-TLB too, and waits for the card's answer; ATS is for trusted devices.", "El kernel invalida también el device-TLB y espera la respuesta de la tarjeta; ATS es para dispositivos de confianza.", "内核同时使设备 TLB 失效并等待卡的应答；ATS 只用于可信设备。"],
    question: ["A card answers the invalidation but keeps the translation. Who notices?", "Una tarjeta responde a la invalidación pero conserva la traducción. ¿Quién lo nota?", "一张卡应答了失效请求却保留转换。谁会发现？"],
    answer: ["Nobody: translated requests are not checked page by page. So Linux does not enable ATS for devices that firmware marks as untrusted.", "Nadie: las peticiones traducidas no se comprueban página a página. Por eso Linux no activa ATS en dispositivos que el firmware marca como no fiables.", "没有人：已转换的请求不会逐页检查。因此 Linux 不会为固件标记为不可信的设备启用 ATS。"],
  },
  {
    id: "guest-addresses",
    scenario: "guest-address-trap",
    protection: "second-stage",
    attacker: "0000:01:00.0",
    title: ["A guest's addresses in a host's memory", "Direcciones de un invitado en la memoria del anfitrión", "客户机地址落入主机内存"],
    attack: ["A guest programs a real card with guest-physical addresses. The host has something else there.", "Un invitado programa una tarjeta real con direcciones físicas de invitado. El anfitrión tiene allí otra cosa.", "客户机用客户机物理地址给真实的卡编程。而主机在那里存放着别的东西。"],
    defence: ["The second stage translates guest-physical to host-physical addresses for the card as it does for the processor.", "La segunda etapa traduce direcciones del invitado a las del anfitrión para la tarjeta igual que para el procesador.", "第二级转换像对处理器一样，为这张卡把客户机物理地址转换为主机物理地址。"],
    question: ["Why must all of a guest's memory be pinned while a card is assigned?", "¿Por qué toda la memoria del invitado debe quedar fijada mientras tiene una tarjeta asignada?", "分配了卡之后，为什么客户机的全部内存都必须锁定？"],
    answer: ["DMA cannot wait for a page to come back from swap: what the card may reach must stay where the tables say.", "El DMA no puede esperar a que una página vuelva del intercambio: lo alcanzable debe quedarse donde dicen las tablas.", "DMA 不能等待页面从交换区换回：卡可以到达的内容必须留在表所指的位置。"],
  },
  {
    id: "virtual-functions",
    scenario: "sriov-eight-vms",
    protection: "tables-each",
    attacker: "0000:01:00.1",
    title: ["Eight guests on one card", "Ocho invitados en una tarjeta", "一张卡上的八个客户机"],
    attack: ["Each guest has a virtual function. One programs its own with the addresses of its neighbours.", "Cada invitado tiene una función virtual. Uno programa la suya con las direcciones de sus vecinos.", "每个客户机有一个虚拟功能。其中一个用邻居的地址给自己的功能编程。"],
    defence: ["Each virtual function has its own requester ID, so its own tables.", "Cada función virtual tiene su propio requester ID y, por tanto, sus propias tablas.", "每个虚拟功能有自己的请求者 ID，因此有自己的表。"],
    question: ["What separates virtual functions inside the card itself?", "¿Qué separa a las funciones virtuales dentro de la propia tarjeta?", "在卡的内部，是什么把各虚拟功能分开？"],
    answer: ["Only the card: its switch, its queues, its firmware. The IOMMU sees requester IDs, not what the card does between them.", "Solo la tarjeta: su conmutador, sus colas, su firmware. El IOMMU ve requester ID, no lo que hace la tarjeta entre ellas.", "只有卡本身：它的交换机、队列和固件。IOMMU 看到的是请求者 ID，而不是卡在它们之间做了什么。"],
  },
];
