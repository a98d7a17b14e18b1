/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/tap.h"

#include "netswitch/rtnl.h"

int tap_place_active(const char *tap, const char *bridge, struct error **err)
{
	if (rtnl_link_master(tap, bridge, err) < 0)
		return -1;
	return rtnl_link_up(tap, err);
}

int tap_place_idle(const char *tap, struct error **err)
{
	if (rtnl_link_down(tap, err) < 0)
		return -1;
	return rtnl_link_master(tap, NULL, err);
}
