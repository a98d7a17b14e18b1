/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/ip-json.h"

json_t *ip_configs_to_json(const struct ip_config *list, size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++) {
		char text[IP_TEXT];
		json_t *item = json_pack("{s:s}", "address", ip_format(&list[i].address, text));

		if (list[i].gateway.family)
			json_object_set_new(item, "gateway",
					    json_string(ip_format_host(&list[i].gateway, text)));
		json_array_append_new(array, item);
	}
	return array;
}
