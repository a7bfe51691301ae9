//! The installation itself and its linkers (bitbucket.md §3.2.15). Only a Connect JWT opens them.

use super::rows;

rows! {
    Cloud;
    ADDONS "addons" "/addon" {
        update PUT    "" "" deprecated CONNECT;
        delete DELETE "" "" deprecated CONNECT;
    }
    LINKERS "linkers" "/addon/linkers" {
        list GET "" "" deprecated LINKERS;
    }
    LINKER "linker" "/addon/linkers/{linker_key}" {
        get GET "" "" deprecated LINKERS;
    }
    LINKER_VALUES "linker_values" "/addon/linkers/{linker_key}/values" {
        list   GET    "" "" deprecated LINKERS;
        create POST   "" "" deprecated LINKERS;
        update PUT    "" "" deprecated LINKERS;
        delete DELETE "" "" deprecated LINKERS;
    }
    LINKER_VALUE "linker_value" "/addon/linkers/{linker_key}/values/{value_id}" {
        get    GET    "" "" deprecated LINKERS;
        delete DELETE "" "" deprecated LINKERS;
    }
    ADDON_CLIENT_KEY "addon_client_key" "/addon/{addon_key}/client-key" {
        get GET "" "admin:workspace";
    }
}
