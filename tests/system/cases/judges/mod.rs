//! Independent judges: images that others make and push, and what others make of the same images.

mod pushed;
mod refused;
mod trees;

use pushed::{a_list_has_an_image_for_each_platform, what_others_push_is_what_they_say};
use refused::{artifacts_are_refused_and_said, layers_from_elsewhere_are_refused};
use trees::{a_real_root_is_podmans, a_users_tree_is_podmans, an_unpacked_tree_is_podmans};

cases![
    an_unpacked_tree_is_podmans,
    a_users_tree_is_podmans,
    a_real_root_is_podmans,
    what_others_push_is_what_they_say,
    a_list_has_an_image_for_each_platform,
    artifacts_are_refused_and_said,
    layers_from_elsewhere_are_refused,
];
