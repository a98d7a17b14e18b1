/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/netlink-msg.h"

#include <string.h>

#include <linux/genetlink.h>

/* Reserves size bytes, padded with zeroes to the alignment. NULL when the message is full. */
static void *nl_reserve(struct nl_msg *msg, size_t size)
{
	struct nlmsghdr *header = nl_header(msg);
	size_t padded = NLMSG_ALIGN(size);
	uint8_t *p = msg->data + header->nlmsg_len;

	if (msg->overflow || padded < size || padded > sizeof(msg->data) - header->nlmsg_len) {
		msg->overflow = true;
		return NULL;
	}
	memset(p, 0, padded);
	header->nlmsg_len += (uint32_t)padded;
	return p;
}

void *nl_start(struct nl_msg *msg, uint16_t type, uint16_t flags, size_t family_header)
{
	/* cppcheck-suppress ctuuninitvar -- this is what initializes it */
	struct nlmsghdr *header = (struct nlmsghdr *)msg->data;

	*header = (struct nlmsghdr){
		.nlmsg_len = NLMSG_HDRLEN,
		.nlmsg_type = type,
		.nlmsg_flags = NLM_F_REQUEST | flags,
	};
	msg->overflow = false;
	return nl_reserve(msg, family_header);
}

void genl_start(struct nl_msg *msg, uint16_t family, uint8_t command, uint8_t version,
		uint16_t flags)
{
	struct genlmsghdr *header = nl_start(msg, family, flags, GENL_HDRLEN);

	header->cmd = command;
	header->version = version;
}

void nl_put(struct nl_msg *msg, uint16_t type, const void *data, size_t size)
{
	struct nlattr *attr = nl_reserve(msg, NLA_HDRLEN + size);

	if (!attr)
		return;
	attr->nla_type = type;
	attr->nla_len = (uint16_t)(NLA_HDRLEN + size);
	if (size > 0)
		memcpy((uint8_t *)attr + NLA_HDRLEN, data, size);
}

void nl_put_u8(struct nl_msg *msg, uint16_t type, uint8_t value)
{
	nl_put(msg, type, &value, sizeof(value));
}

void nl_put_u16(struct nl_msg *msg, uint16_t type, uint16_t value)
{
	nl_put(msg, type, &value, sizeof(value));
}

void nl_put_u32(struct nl_msg *msg, uint16_t type, uint32_t value)
{
	nl_put(msg, type, &value, sizeof(value));
}

void nl_put_string(struct nl_msg *msg, uint16_t type, const char *text)
{
	nl_put(msg, type, text, strlen(text) + 1);
}

size_t nl_nest(struct nl_msg *msg, uint16_t type)
{
	size_t nest = nl_header(msg)->nlmsg_len;

	nl_put(msg, type | NLA_F_NESTED, NULL, 0);
	return nest;
}

void nl_nest_end(struct nl_msg *msg, size_t nest)
{
	struct nlattr *attr = (struct nlattr *)(msg->data + nest);

	if (!msg->overflow)
		attr->nla_len = (uint16_t)(nl_header(msg)->nlmsg_len - nest);
}

static bool nl_fits(const struct nlattr *attr, size_t left)
{
	return left >= sizeof(*attr) && attr->nla_len >= sizeof(*attr) && attr->nla_len <= left;
}

const struct nlattr *nl_first(const void *data, size_t left)
{
	const struct nlattr *attr = data;

	return attr && nl_fits(attr, left) ? attr : NULL;
}

const struct nlattr *nl_next(const struct nlattr *attr, size_t *left)
{
	size_t step = NLA_ALIGN(attr->nla_len);

	if (step >= *left)
		return NULL;
	*left -= step;
	return nl_first((const uint8_t *)attr + step, *left);
}

static void nl_sort(const void *data, size_t left, const struct nlattr **table, uint16_t most)
{
	const struct nlattr *attr;

	for (uint16_t type = 0; type <= most; type++)
		table[type] = NULL;
	for (attr = nl_first(data, left); attr; attr = nl_next(attr, &left)) {
		uint16_t type = attr->nla_type & NLA_TYPE_MASK;

		if (type <= most)
			table[type] = attr;
	}
}

const void *nl_body(const struct nlmsghdr *header, size_t family_header)
{
	if (header->nlmsg_len < NLMSG_HDRLEN + family_header)
		return NULL;
	return (const uint8_t *)header + NLMSG_HDRLEN;
}

void nl_parse(const struct nlmsghdr *header, size_t family_header, const struct nlattr **table,
	      uint16_t most)
{
	size_t start = NLMSG_HDRLEN + NLMSG_ALIGN(family_header);
	size_t left = header->nlmsg_len > start ? header->nlmsg_len - start : 0;

	nl_sort((const uint8_t *)header + start, left, table, most);
}

void nl_parse_nested(const struct nlattr *nest, const struct nlattr **table, uint16_t most)
{
	nl_sort(nest ? nl_data(nest) : NULL, nest ? nl_size(nest) : 0, table, most);
}

uint8_t nl_u8(const struct nlattr *attr)
{
	return attr && nl_size(attr) >= 1 ? *(const uint8_t *)nl_data(attr) : 0;
}

uint16_t nl_u16(const struct nlattr *attr)
{
	uint16_t value = 0;

	if (attr && nl_size(attr) >= sizeof(value))
		memcpy(&value, nl_data(attr), sizeof(value));
	return value;
}

uint32_t nl_u32(const struct nlattr *attr)
{
	uint32_t value = 0;

	if (attr && nl_size(attr) >= sizeof(value))
		memcpy(&value, nl_data(attr), sizeof(value));
	return value;
}

const char *nl_string(const struct nlattr *attr)
{
	const char *text;

	if (!attr || nl_size(attr) == 0)
		return "";
	text = nl_data(attr);
	return memchr(text, '\0', nl_size(attr)) ? text : "";
}
