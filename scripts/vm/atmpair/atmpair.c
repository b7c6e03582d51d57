// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Two ATM interfaces with a wire between them: what is sent on a circuit of one arrives on the same circuit of the other.
 *
 * For tests. The kernel's own atmtcp would do, but since 6.1.150 (atmtcp_c_pre_send, against CVE-2025-39828) its daemon may not
 * answer the kernel's question whether a circuit may be opened, and whoever opens one waits for ever.
 */
#include <linux/atmdev.h>
#include <linux/module.h>
#include <linux/skbuff.h>
#include <net/sock.h>

static struct atm_dev *ends[2];

/* AAL5 circuits that their owner has bound are open; nothing has to be set up. */
static int atmpair_open(struct atm_vcc *vcc)
{
	if (vcc->vpi == ATM_VPI_UNSPEC || vcc->vci == ATM_VCI_UNSPEC)
		return 0;
	set_bit(ATM_VF_ADDR, &vcc->flags);
	set_bit(ATM_VF_READY, &vcc->flags);
	return 0;
}

static void atmpair_close(struct atm_vcc *vcc)
{
	clear_bit(ATM_VF_READY, &vcc->flags);
	clear_bit(ATM_VF_ADDR, &vcc->flags);
}

/* The open circuit of that number; vcc_sklist_lock is held. */
static struct atm_vcc *find(struct atm_dev *dev, short vpi, int vci)
{
	int i;

	for (i = 0; i < VCC_HTABLE_SIZE; i++) {
		struct sock *s;

		sk_for_each(s, &vcc_hash[i]) {
			struct atm_vcc *vcc = atm_sk(s);

			if (vcc->dev == dev && vcc->vpi == vpi && vcc->vci == vci &&
			    test_bit(ATM_VF_READY, &vcc->flags) && vcc->push)
				return vcc;
		}
	}
	return NULL;
}

static int atmpair_send(struct atm_vcc *vcc, struct sk_buff *skb)
{
	struct sk_buff *copy = skb_copy(skb, GFP_ATOMIC);
	struct atm_vcc *out;

	if (vcc->pop)
		vcc->pop(vcc, skb);
	else
		dev_kfree_skb(skb);
	atomic_inc(&vcc->stats->tx);
	if (!copy)
		return 0;
	read_lock(&vcc_sklist_lock);
	out = find(ends[vcc->dev == ends[0]], vcc->vpi, vcc->vci);
	if (out && atm_charge(out, copy->truesize)) {
		ATM_SKB(copy)->vcc = out;
		atomic_inc(&out->stats->rx);
		out->push(out, copy);
	} else {
		/* Nobody listens at the other end. */
		dev_kfree_skb(copy);
	}
	read_unlock(&vcc_sklist_lock);
	return 0;
}

static const struct atmdev_ops atmpair_ops = {
	.open = atmpair_open,
	.close = atmpair_close,
	.send = atmpair_send,
	.owner = THIS_MODULE,
};

static void atmpair_exit(void)
{
	int i;

	for (i = 0; i < 2; i++)
		if (ends[i])
			atm_dev_deregister(ends[i]);
}

static int __init atmpair_init(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		ends[i] = atm_dev_register("atmpair", NULL, &atmpair_ops, -1, NULL);
		if (!ends[i]) {
			atmpair_exit();
			return -ENOMEM;
		}
		ends[i]->ci_range.vpi_bits = 8;
		ends[i]->ci_range.vci_bits = 16;
		/* A card's hardware address, as br2684 takes it for the bridge: locally administered. */
		ends[i]->esi[0] = 2;
		ends[i]->esi[5] = i + 1;
	}
	return 0;
}

module_init(atmpair_init);
module_exit(atmpair_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Two ATM interfaces with a wire between them, for tests");
